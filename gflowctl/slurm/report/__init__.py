"""What Slurm's programs tell of jobs and of the machine: the facts in Slurm's words, the columns, and which jobs."""
