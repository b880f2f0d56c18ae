"""Runs the whole daemon in virtual time, seed after seed, until something is not as it must be.

python tests/simulation/run.py --seeds 1-100 --hours 24
python tests/simulation/run.py --seed 42 --hours 24            # the same again
python tests/simulation/run.py --minutes 10 --keep-going       # new seeds for ten minutes
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count

from simulated import ARRIVALS, simulate
from verdicts import RULES


def main() -> int:
    args = _asked()
    begun, machine_hours, jobs, ticks, failures = time.monotonic(), 0.0, 0, 0, 0
    looked_at: Counter[str] = Counter()
    gc.disable()  # what a seed leaves is small; to look for it all the time is a seventh of the cost
    for seed in _seeds(args):
        if args.minutes is not None and time.monotonic() > begun + args.minutes * 60:
            break
        gc.collect()
        try:
            told = simulate(seed, args.hours, args.only, args.jobs)
        except AssertionError as failure:
            print(failure, flush=True)
            failures += 1
            if not args.keep_going:
                break
            continue
        machine_hours, jobs, ticks = machine_hours + told.hours, jobs + told.jobs, ticks + told.ticks
        looked_at.update(told.looked_at)
        if args.verbose:
            print(f"seed {seed}: {told.kind}, {told.hours:.1f} h, {told.jobs} jobs, {told.ticks} ticks", flush=True)
    minutes = (time.monotonic() - begun) / 60
    print(f"{machine_hours:.0f} machine hours, {jobs} jobs, {ticks} ticks, {failures} failures in {minutes:.2f} min")
    print(f"{machine_hours / minutes:.0f} machine hours and {jobs / minutes:.0f} jobs a minute")
    print("looked at: " + ", ".join(f"{rule} {looked_at[rule]}" for rule in RULES))
    return int(failures > 0)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", metavar="A-B", help="these; without it from 1 on")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--minutes", type=float, help="begin no further seed after so long")
    parser.add_argument("--hours", type=float, default=8.0, help="how long jobs come, for each seed (8)")
    parser.add_argument("--jobs", type=float, default=ARRIVALS, help="an hour (60)")
    parser.add_argument(
        "--only", type=lambda text: text.split(","), default=RULES, metavar="RULE,...", help=", ".join(RULES)
    )
    parser.add_argument("--keep-going", action="store_true", help="go on after a failure")
    parser.add_argument("--verbose", action="store_true", help="a line for each seed")
    return parser.parse_args()


def _seeds(args: argparse.Namespace) -> Iterator[int]:
    if args.seed is not None:
        return iter((args.seed,))
    if args.seeds is None:
        return count(1)
    first, _, last = args.seeds.partition("-")
    return iter(range(int(first), int(last or first) + 1))


if __name__ == "__main__":
    sys.exit(main())
