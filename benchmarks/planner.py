#!/usr/bin/env python3
"""What a decision of the planner costs, and keeping the queue, as it grows; a part of `make bench`.

The machine has eight GPUs. A decision is made as the scheduler makes it: the jobs in order, what is given out and until
when, and as many jobs looked at as by default. Times are medians of the CPU time, without disk or daemon.
"""

from __future__ import annotations

import math
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from report import line

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from gflowd.core.job import codec
from gflowd.core.job.arrays import Family
from gflowd.core.job.model import Spec
from gflowd.core.planning import backfill
from gflowd.core.planning.backfill import Rules
from gflowd.core.planning.capacity import Capacity, Device
from gflowd.core.planning.occupancy import Hold, Occupancy
from gflowd.core.queue.job_queue import JobQueue
from gflowd.core.queue.job_records import JobRecords

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

SIZES = (1_000, 10_000, 100_000)
ROUNDS = 15
DEPTH = 1000  # `[scheduler] backfill_depth` by default
ELEMENTS = 100  # of each array
HOUR = 3600.0
LIMITS = (600.0, HOUR, 4 * HOUR, 24 * HOUR)
NOW = 1e9
MACHINE = Capacity(tuple(Device(index, "A100", 81920) for index in range(8)), cpus=64, memory_mb=512_000)


@dataclass
class Snapshot:
    """Records as the scheduler has them in memory, and its queue of them."""

    specs: dict[int, Any]
    phases: dict[int, Any] = field(default_factory=dict)
    job_queue: JobQueue = field(init=False)

    def __post_init__(self) -> None:
        self.job_queue = JobQueue(JobRecords(self.specs, phases=self.phases))

    def note(self, spec_ids: list[int], job_ids: list[int]) -> None:
        ids = self.job_queue.refresh(spec_ids, job_ids)
        self.job_queue.settle(ids, NOW)

    def submit(self, number: int) -> None:
        self.specs[10**6 + number] = codec.encode(spec(random.Random(number)))  # noqa: S311 -- seeded on purpose
        self.note([10**6 + number], [])

    def start_and_end(self, number: int) -> None:
        job_id = 10 * number + 1
        run = {"attempt": 1, "executor": "tmux", "launched_at": NOW}
        for phase in ({"is": "starting", "run": run}, {"is": "ended", "state": "finished", "run": run}):
            self.phases[job_id] = phase
            self.note([], [job_id])


Act = Callable[[Snapshot, int], object]


def spec(dice: random.Random, limit: float | None = None, **fields: object) -> Spec:
    made = Spec(
        command=("python", "train.py"), name="train", user=dice.choice("abcde"), cwd="/", env="0" * 32,
        submitted_at=NOW, gpus=dice.choice((1, 1, 1, 2, 4, 8)), cpus=dice.choice((1, 4, 8)),
        memory_mb=dice.choice((None, 1024, 16384)), time_limit=dice.choice(LIMITS) if limit is None else limit,
    )  # fmt: skip
    return made.replace(**fields)


def singles(size: int, dice: random.Random) -> dict[int, Spec]:
    return {job_id: spec(dice) for job_id in range(1, size + 1)}


def diverse(size: int, dice: random.Random) -> dict[int, Spec]:
    return {job_id: spec(dice, dice.uniform(60.0, 24 * HOUR)) for job_id in range(1, size + 1)}


def arrays(size: int, dice: random.Random) -> dict[int, Spec]:
    family = Family(ranges=((1, ELEMENTS, 1),), max_concurrent=4)
    return {job_id: spec(dice, family=family) for job_id in range(1, size + 1, ELEMENTS)}


QUEUES = {"alike": singles, "diverse": diverse, "arrays": arrays}


def queue(kind: str, size: int) -> Snapshot:
    """So many queued jobs of five users."""
    specs = QUEUES[kind](size, random.Random(size))  # noqa: S311 -- seeded on purpose
    made = Snapshot({job_id: codec.encode(each) for job_id, each in specs.items()})
    made.note(list(made.specs), [])
    return made


def decide(job_queue: JobQueue, free: int) -> backfill.Plan:
    """A decision with so many GPUs free."""
    room = Occupancy(MACHINE, range(8), NOW)
    for index in range(8):
        room.take(Hold("a", NOW + HOUR * (index + 1), 8, 32768, (index,) if index >= free else ()))
    room.cpus += 8 * free
    queue = job_queue.queue(NOW + HOUR)
    rules = Rules(DEPTH, ready=job_queue.ready, length=job_queue.runtimes.length, rule_out=queue.rule_out)
    return backfill.plan(queue, room, rules)


def median(made: Snapshot, act: Act) -> float:
    """Milliseconds that `act` takes; it is told which time it is."""
    spent = []
    for number in range(ROUNDS):
        begun = time.process_time()
        act(made, number)
        spent.append(time.process_time() - begun)
    return statistics.median(spent) * 1000


def growth(by_size: dict[int, float]) -> float:
    """The exponent x of size^x, between the smallest and the largest."""
    small, large = min(by_size), max(by_size)
    return math.log(by_size[large] / by_size[small]) / math.log(large / small)


DECISIONS: dict[str, tuple[Act, float]] = {  # and the budget for 10,000, in ms
    "nothing free": (lambda made, _: decide(made.job_queue, 0), 5.0),
    "one GPU freed": (lambda made, _: decide(made.job_queue, 1), 20.0),
}
CHANGES: dict[str, tuple[Act, float]] = {
    "a submission": (Snapshot.submit, 1.0),
    "a start and its end": (Snapshot.start_and_end, 1.0),
}


def rows() -> Iterator[str]:
    """Every measure with its budget: ten times as many jobs may take up to ten times as long."""
    for kind in QUEUES:
        acts = {**DECISIONS, **CHANGES} if kind == "alike" else DECISIONS
        found: dict[str, dict[int, float]] = {what: {} for what in acts}
        for size in SIZES:
            made = queue(kind, size)
            for what, (act, _) in acts.items():
                found[what][size] = median(made, act)
        for what, (_, budget) in acts.items():
            by_size = found[what]
            yield line(f"10,000 queued, {kind}: {what}", by_size[10_000], "ms", budget)
            yield line(f"100,000 queued, {kind}: {what}, n^{growth(by_size):.2f}", by_size[100_000], "ms", 10 * budget)


def main() -> int:
    for text in rows():
        print(text, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
