"""One attempt from start to end: script, observations, transitions, stopping. Decides; touches no process."""
