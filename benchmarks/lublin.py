#!/usr/bin/env python3
"""Makes a trace by the model of U. Lublin and D. Feitelson, "The workload on parallel supercomputers: modeling the
characteristics of rigid jobs", J. Parallel and Distributed Computing 63 (11), 2003, with its published parameters for
jobs of all kinds (neither batch nor interactive in particular).

Written from the model's definition. What is ours:
- A processor is a GPU. Of the sizes, the log2 of the largest is that of the machine and the point where the two
  uniform distributions meet lies 1.5 below it, as the authors advise for a machine of eight.
- How long a job runs depends on the part of the machine that it has, not on the number of processors: the parameters
  were fitted where the largest had 128.
- Time limits: between the run time and FACTOR times that (the "f-model" of A. Mu'alem and D. Feitelson, IEEE Trans.
  Parallel and Distributed Systems 12 (6), 2001), then up to one of a few round values, which is what people ask for
  (D. Tsafrir, Y. Etsion, D. Feitelson, "Modeling user runtime estimates", JSSPP 2005).
- Users, of which the model says nothing: by Zipf's law.
"""

from __future__ import annotations

import argparse
import sys
from itertools import islice
from math import exp, lgamma, log, log2
from random import Random

import swf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SERIAL, POWERS_OF_TWO = 0.244, 0.576  # parts of all jobs
SMALLEST, MIDDLE_BELOW_LARGEST, SMALL = 0.8, 1.5, 0.86  # log2 of sizes; the part of parallel jobs up to the middle
FITTED = 128  # processors of the machine that the parameters are for
SHORT_RUNS, LONG_RUNS = (4.2, 0.94), (312.0, 0.03)  # gamma distributions of the logarithm of the run time
SHORT_PART = (-0.0054, 0.78)  # of jobs with a short run: slope by processors, and intercept
LONGEST = 12.0  # logarithm of seconds
GAPS = (10.2303 * 1.0225, 0.4871)  # of the logarithm of the time between arrivals
WIDEST_GAP = 13.0
BY_TIME_OF_DAY = (8.1737, 3.9631)  # gamma distribution over the half hours of a day that begins with the eleventh
DAY_BEGINS, BUCKETS, BUCKET = 11, 48, 1800  # seconds
FACTOR = 5.0
ROUND_LIMITS = tuple(60 * minutes for minutes in (5, 10, 15, 30, 60, 120, 240, 480, 720, 1440, 2880, 5760, 14400))
USERS = 8


def main() -> int:
    parser = argparse.ArgumentParser(description="Writes a trace in Standard Workload Format to standard output.")
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.jobs < 1 or args.gpus < 1:
        parser.error("there is at least one job, and one GPU")
    header = {
        "Version": "2.2",
        "Computer": f"a made-up machine with {args.gpus} GPUs",
        "Note": f"model of Lublin and Feitelson (2003), benchmarks/lublin.py --jobs {args.jobs} --seed {args.seed}",
        "MaxJobs": str(args.jobs),
        "MaxProcs": str(args.gpus),
        "MaxRuntime": str(int(exp(LONGEST))),
        "UnixStartTime": "0",
    }
    records = list(islice(generate(Random(args.seed), args.gpus), args.jobs))  # noqa: S311 -- seeded on purpose
    sys.stdout.writelines(swf.write(swf.Trace(header, records)))
    return 0


def generate(dice: Random, gpus: int) -> Iterator[swf.Record]:
    """Jobs without end."""
    zipf = [1 / user for user in range(1, USERS + 1)]
    for number, at in enumerate(arrivals(dice), 1):
        size = gpus_asked(dice, gpus)
        ran = round(run_time(dice, size / gpus))
        user = dice.choices(range(1, USERS + 1), zipf)[0]
        limit = asked_time(dice, ran)
        yield swf.Record(
            number, round(at), ran=ran, processors=size, asked_processors=size, asked_time=limit, status=1, user=user
        )


def gpus_asked(dice: Random, gpus: int) -> int:
    """How many of `gpus` a job has."""
    kind = dice.random()
    if kind <= SERIAL:
        return 1
    largest = log2(gpus)
    middle = max(SMALLEST, largest - MIDDLE_BELOW_LARGEST)
    size = dice.uniform(SMALLEST, middle) if dice.random() <= SMALL else dice.uniform(middle, largest)
    if kind <= SERIAL + POWERS_OF_TWO:
        size = int(size + 0.5)
    return min(gpus, int(2**size + 0.5))


def run_time(dice: Random, part: float) -> float:
    """Seconds that a job runs which has a part of the machine."""
    slope, intercept = SHORT_PART
    while True:
        is_short = dice.random() <= slope * part * FITTED + intercept
        logarithm = dice.gammavariate(*(SHORT_RUNS if is_short else LONG_RUNS))
        if logarithm <= LONGEST:
            return max(1.0, exp(logarithm))


def asked_time(dice: Random, ran: float) -> int:
    """The time limit, in seconds, of a job that runs so long."""
    guess = dice.uniform(ran, FACTOR * ran)
    return next(limit for limit in ROUND_LIMITS if limit >= min(guess, ROUND_LIMITS[-1]))


def arrivals(dice: Random) -> Iterator[float]:
    """Seconds since a midnight, ascending: gaps as at all times alike, then stretched where the day is calm."""
    weights = daily_cycle()
    bucket, left = 0, float(BUCKET)
    while True:
        gap = WIDEST_GAP + 1
        while gap > WIDEST_GAP:
            gap = dice.gammavariate(*GAPS)
        wanted = exp(gap)
        while wanted > left * weights[bucket % BUCKETS]:
            wanted -= left * weights[bucket % BUCKETS]
            bucket, left = bucket + 1, float(BUCKET)
        left -= wanted / weights[bucket % BUCKETS]
        yield (bucket + 1) * BUCKET - left


def daily_cycle() -> list[float]:
    """How busy each half hour of a day is, from midnight, as a multiple of the mean."""
    shares = [0.0] * BUCKETS
    for half_hour in range(DAY_BEGINS, DAY_BEGINS + BUCKETS):
        shares[(half_hour - 1) % BUCKETS] = _part_of_gamma(half_hour - 0.5, half_hour + 0.5, *BY_TIME_OF_DAY)
    return [share * BUCKETS / sum(shares) for share in shares]


def _part_of_gamma(low: float, high: float, shape: float, scale: float, steps: int = 16) -> float:
    """How much of a gamma distribution lies between two values, by Simpson's rule."""

    def density(x: float) -> float:
        return exp((shape - 1) * log(x) - x / scale - lgamma(shape) - shape * log(scale))

    width = (high - low) / steps
    inner = sum((4 if step % 2 else 2) * density(low + step * width) for step in range(1, steps))
    return (density(low) + inner + density(high)) * width / 3


if __name__ == "__main__":
    sys.exit(main())
