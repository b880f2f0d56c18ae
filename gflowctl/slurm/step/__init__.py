"""Steps of a job as processes of this machine: who may start, what they read and write, and how they end."""
