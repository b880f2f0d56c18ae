#!/bin/bash
# An array, two elements at a time: each estimates pi with a seed of its own and keeps the result in a file.
# The last element fails on purpose, as elements do; its exit code is its own.
#SBATCH -J pi
#SBATCH --array=1-7:2%2
#SBATCH --output=pi-%A_%a.txt
#SBATCH --mem=100M
#SBATCH -t 5

echo "element $SLURM_ARRAY_TASK_ID of $SLURM_ARRAY_TASK_MIN to $SLURM_ARRAY_TASK_MAX by $SLURM_ARRAY_TASK_STEP," \
    "$SLURM_ARRAY_TASK_COUNT in all"
awk -v seed="$SLURM_ARRAY_TASK_ID" -v rounds=200000 'BEGIN {
    srand(seed)
    for (n = 0; n < rounds; n++) { x = rand(); y = rand(); inside += x * x + y * y < 1 }
    printf "pi is about %.2f\n", 4 * inside / rounds
}'
[ "$SLURM_ARRAY_TASK_ID" -lt "$SLURM_ARRAY_TASK_MAX" ] || exit 3
