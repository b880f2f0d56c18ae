#!/bin/sh
# Submits three jobs, each after the one before it, and prints their ids. SUBMIT says with what:
#   SUBMIT=sbatch sh pipeline.sh       SUBMIT='gflowctl submit' sh pipeline.sh
# usage: pipeline.sh [STATUS]    (with which the training ends; the last step follows however it does)
set -eu
submit=${SUBMIT:-sbatch}
prepare=$($submit --parsable prepare.sh)
train=$($submit --parsable --dependency="afterok:$prepare" train.sh "${1:-0}")
clean=$($submit --parsable --dependency="afterany:$train" clean.sh)
echo "$prepare $train $clean"
