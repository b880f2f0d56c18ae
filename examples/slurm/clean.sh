#!/bin/bash
# The last step of pipeline.sh: comes after the training, however that ended, and appends to a log of its own.
#SBATCH --job-name=clean
#SBATCH --time=5
#SBATCH --mem=100M
#SBATCH --output=clean.log
#SBATCH --open-mode=append

rm -f data.txt
echo "cleaned by job $SLURM_JOB_NAME"
