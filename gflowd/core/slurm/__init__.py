"""Scripts written for Slurm: the options of sbatch and srun in gflow's terms. Runs nothing."""
