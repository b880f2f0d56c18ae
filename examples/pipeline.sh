#!/bin/sh
# A shell job with what tends to break a log: pipes, text that is not ASCII, and a burst of output as its last act.
# usage: pipeline.sh [MEGABYTES]    (10 unless told)
set -eu
megabytes=${1:-10}

echo "counting words: naïve façade, Größe, 東京, Ελληνικά, 🙂"
printf '%s\n' pear apple fig apple pear apple | sort | uniq -c | sort -rn

echo "lines that are numbers divisible by 7, of 1000: $(seq 1000 | awk '$1 % 7 == 0' | wc -l)"

# 64-byte lines, numbered, so that a missing one can be named. Nothing after it: the job ends while its log is written.
awk -v lines="$((megabytes * 16384))" 'BEGIN { for (n = 1; n <= lines; n++) printf "%012d %s\n", n, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWX" }'
