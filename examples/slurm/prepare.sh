#!/bin/bash
# The first step of pipeline.sh: makes the data.
#SBATCH --job-name=prepare
#SBATCH --time=5
#SBATCH --mem=100M

seq "${1:-100}" >data.txt
echo "made $(wc -l <data.txt) lines"
