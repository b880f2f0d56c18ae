#!/usr/bin/env python3
"""A training run that outlives its time limit: warned by SIGUSR1 it saves itself, and another attempt goes on.

Submitted with --time, --signal USR1@5, --max-retries and --retry-on 75 it is ended before the limit by its own will,
with status 75, and tried again until all epochs are done. It learns the same as a run without an interruption.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time

AGAIN = 75  # EX_TEMPFAIL of sysexits.h: not done, try again

warned = False


def note(_number: int, _frame: object) -> None:
    """Only notes the warning: the middle of a step is no time to save."""
    global warned
    warned = True


def load(path: str) -> dict[str, float]:
    """Where to go on, or a fresh start."""
    try:
        with open(path, encoding="utf-8") as file:
            found: dict[str, float] = json.load(file)
            return found
    except FileNotFoundError:
        return {"epoch": 0, "weight": 0.0}


def save(path: str, state: dict[str, float]) -> None:
    """All of it or nothing: a run that is killed in the middle leaves the checkpoint before."""
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--pause", type=float, default=0.1, metavar="SECONDS", help="how long an epoch takes")
    parser.add_argument("--checkpoint", default="checkpoint.json", metavar="FILE")
    args = parser.parse_args()
    signal.signal(signal.SIGUSR1, note)
    state = load(args.checkpoint)
    print(f"attempt {os.environ.get('GFLOW_ATTEMPT', '1')} goes on after epoch {state['epoch']:.0f}", flush=True)
    while state["epoch"] < args.epochs:
        rng = random.Random(state["epoch"])  # of the epoch, so that an interruption changes nothing
        state["weight"] += 0.1 * (rng.gauss(1, 0.1) - state["weight"])
        state["epoch"] += 1
        time.sleep(args.pause)
        if warned:
            save(args.checkpoint, state)
            print(f"warned; saved after epoch {state['epoch']:.0f}", flush=True)
            return AGAIN
    save(args.checkpoint, state)
    print(f"done: {args.epochs} epochs, weight {state['weight']:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
