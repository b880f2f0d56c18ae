#!/bin/bash
# A training run on one GPU, called once through srun; says which GPU it was given.
#SBATCH --job-name=train
#SBATCH --partition=debug
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=1
#SBATCH --mem=500M
#SBATCH --time=0:10:00
#SBATCH --output=%x.%j.out
#SBATCH --error=%x.%j.err

echo "GPUs given: $(printf '%s' "$CUDA_VISIBLE_DEVICES" | tr ',' '\n' | grep -c .)"
echo "a warning goes where warnings go" >&2
srun --gres=gpu:1 --cpus-per-task=1 awk 'BEGIN {
    for (epoch = 1; epoch <= 5; epoch++) printf "epoch %d: loss %.3f\n", epoch, 2 / (1 + epoch)
}'
