"""Programs under Slurm's names, over gflow's own modules: what they are told and how they tell it, and nothing else."""
