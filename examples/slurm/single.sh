#!/bin/bash
# One job of one task: counts the primes below a million with what every machine has.
#SBATCH --job-name=primes
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=200M
#SBATCH --time=00:05:00

echo "job $SLURM_JOB_ID ($SLURM_JOB_NAME) with $SLURM_CPUS_PER_TASK CPU and $SLURM_NTASKS task, from $SLURM_SUBMIT_DIR"
srun awk -v limit="${1:-1000000}" 'BEGIN {
    for (n = 2; n < limit; n++) if (!(n in composite)) { found++; for (m = n * n; m < limit; m += n) composite[m] }
    print found " primes below " limit
}'
