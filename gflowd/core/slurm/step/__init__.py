"""Steps of a job as srun starts them: the words of srun, which step starts next, and what each of its tasks gets."""
