#!/usr/bin/env python3
"""Replays a trace on virtual time through the planner, and beside it through two simpler ones.

    fifo    in order of submission; the first that does not fit holds up all others
    greedy  in gflow's order; whatever fits starts, as in the system that gflow reimplements
    gflow   in gflow's order, the first that does not fit with a promise (`gflowd.core.schedule`)

Processors are taken as GPUs. A job ends when it did in the trace, or at its time limit.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections import deque
from heapq import heappop, heappush
from math import inf, nan
from typing import NamedTuple

import swf

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from gflowd.core import schedule
from gflowd.core.capacity import Capacity, Device
from gflowd.core.line import Line
from gflowd.core.model import Job, Queued, Spec, Wish
from gflowd.core.occupancy import Hold, Occupancy, hold
from gflowd.core.schedule import Rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

TRACE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "traces", "lublin-8gpu.swf")
LOADS = (0.7, 0.8, 0.9)
DEPTH = 1000  # `[scheduler] backfill_depth` by default
TAU = 10.0  # seconds: what runs shorter than that counts as this long in a slowdown

Start = tuple[Job, tuple[int, ...]]


class Task(NamedTuple):
    """A job that comes at a time and runs for a while; seconds."""

    at: float
    job: Job
    runs: float


class Outcome(NamedTuple):
    """How long each job waited (seconds), and the part of the GPUs' time in use between first and last submission."""

    waits: dict[int, float]
    utilisation: float


class Machine:
    """GPUs, the jobs that have some and those that wait."""

    def __init__(self, gpus: int) -> None:
        self.capacity = Capacity(tuple(Device(index) for index in range(gpus)), cpus=0, memory_mb=0)
        self.now = 0.0
        self.submitted: dict[int, Job] = {}  # in order of submission
        self._line = Line()
        self._holds: dict[int, Hold] = {}

    def submit(self, job: Job) -> None:
        self.submitted[job.id] = job
        self._line.add(job)

    def start(self, job: Job, gpus: tuple[int, ...]) -> None:
        del self.submitted[job.id]
        self._line.drop(job)
        self._holds[job.id] = hold(job.spec, gpus, self.now + schedule.duration(job.spec))

    def end(self, job_id: int) -> None:
        del self._holds[job_id]

    def in_order(self) -> Iterator[Job]:
        """The jobs that wait, in gflow's order."""
        return (self.submitted[job_id] for job_id in self._line.walk({}, lambda _: None))

    def room(self) -> Occupancy:
        room = Occupancy(self.capacity, range(len(self.capacity.gpus or ())), self.now)
        for each in self._holds.values():
            room.take(each)
        return room


def fifo(machine: Machine) -> list[Start]:
    return list(_fitting(machine.submitted.values(), machine.room(), strict=True))


def greedy(machine: Machine) -> list[Start]:
    return list(_fitting(machine.in_order(), machine.room(), strict=False))


def gflow(machine: Machine) -> list[Start]:
    return schedule.plan(machine.in_order(), machine.room(), Rules(DEPTH)).starts


POLICIES = {"fifo": fifo, "greedy": greedy, "gflow": gflow}


def _fitting(jobs: Iterable[Job], room: Occupancy, *, strict: bool) -> Iterator[Start]:
    """The jobs that fit one after the other; `strict`: up to the first that does not."""
    for job in jobs:
        gpus = tuple(room.candidates(job.spec, room.now, room.now)[: job.spec.gpus])
        if len(gpus) == job.spec.gpus:
            room.take(hold(job.spec, gpus, room.now + schedule.duration(job.spec)))
            yield job, gpus
        elif strict:
            return


def replay(tasks: Sequence[Task], gpus: int, policy: Callable[[Machine], list[Start]]) -> Outcome:
    """Runs all tasks, which are in order of submission; plans whenever one comes or ends."""
    machine, waits = Machine(gpus), dict.fromkeys((task.job.id for task in tasks), inf)
    by_id = {task.job.id: task for task in tasks}
    coming = deque(tasks)
    ends: list[tuple[float, int]] = []
    used = 0.0
    while coming or ends:
        machine.now = min(coming[0].at if coming else inf, ends[0][0] if ends else inf)
        while ends and ends[0][0] <= machine.now:
            machine.end(heappop(ends)[1])
        while coming and coming[0].at <= machine.now:
            machine.submit(coming.popleft().job)
        for job, indices in policy(machine):
            task = by_id[job.id]
            machine.start(job, indices)
            heappush(ends, (machine.now + task.runs, job.id))
            waits[job.id] = machine.now - task.at
            used += len(indices) * max(0.0, min(machine.now + task.runs, tasks[-1].at) - machine.now)
    return Outcome(waits, used / (gpus * (tasks[-1].at - tasks[0].at)))


def tasks_of(trace: swf.Trace, gpus: int, load: float | None = None) -> list[Task]:
    """The jobs of a trace that a machine with so many GPUs can run. With `load`, the times between submissions are
    stretched so that the jobs need that part of the machine.
    """
    records = [each for each in trace.records if each.ran > 0 and 0 < _processors(each) <= gpus]
    if len(records) < 2 or records[0].submitted == records[-1].submitted:
        raise ValueError("there are not enough jobs in it that the machine could run")
    span = records[-1].submitted - records[0].submitted
    offered = sum(each.ran * _processors(each) for each in records) / (gpus * span)
    return [_task(number, each, 1 if load is None else offered / load) for number, each in enumerate(records, 1)]


def _task(number: int, record: swf.Record, stretch: float) -> Task:
    limit = float(record.asked_time) if record.asked_time > 0 else None
    spec = Spec(
        command=("x",), name="x", user=str(record.user), cwd="/", env="e", submitted_at=record.submitted,
        gpus=_processors(record), cpus=0, time_limit=limit,
    )  # fmt: skip
    runs = record.ran if limit is None else min(record.ran, limit)
    return Task(record.submitted * stretch, Job(number, spec, Wish(), Queued()), runs)


def _processors(record: swf.Record) -> int:
    return int(record.asked_processors if record.asked_processors > 0 else record.processors)


class Figures(NamedTuple):
    """What matters of an outcome: waits in seconds, those of jobs that need half of the GPUs as `wide`; the mean of
    the bounded slowdown, (wait + run) / run; the part of the GPUs' time in use.
    """

    wait: float
    wait_95: float
    wide: float
    slowdown: float
    utilisation: float


def figures(tasks: Sequence[Task], gpus: int, outcome: Outcome) -> Figures:
    waits = [outcome.waits[task.job.id] for task in tasks]
    wide = [outcome.waits[task.job.id] for task in tasks if 2 * task.job.spec.gpus >= gpus]
    slowdowns = [max(1.0, (outcome.waits[task.job.id] + task.runs) / max(task.runs, TAU)) for task in tasks]
    return Figures(
        statistics.mean(waits),
        statistics.quantiles(waits, n=20)[-1],
        statistics.mean(wide) if wide else nan,
        statistics.mean(slowdowns),
        outcome.utilisation,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("trace", nargs="?", default=TRACE, help="a file in Standard Workload Format")
    parser.add_argument("--gpus", type=int, help="of the machine; default: as many as the widest job has")
    parser.add_argument(
        "--load", type=float, action="append", metavar="PART",
        help="stretch the trace so that it needs this part of the GPUs' time, 0: leave it as it is; may be repeated",
    )  # fmt: skip
    args = parser.parse_args()
    if any(not 0 <= load < inf for load in args.load or ()) or (args.gpus is not None and args.gpus < 1):
        parser.error("a load is 0 or more, and there is at least one GPU")
    try:
        with open(args.trace, encoding="utf-8", errors="replace") as file:
            trace = swf.read(file)
        gpus = args.gpus or max(map(_processors, trace.records), default=1)
        replays = [(load, tasks_of(trace, gpus, load or None)) for load in args.load or LOADS]
    except (OSError, ValueError) as error:
        print(f"simulate: {args.trace}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return 1
    print(f"{len(replays[0][1])} jobs on {gpus} GPUs; waits in hours; wide: half of the GPUs or more")
    print("load  policy      wait  p95 wait  wide wait  slowdown  utilisation")
    for load, tasks in replays:
        for name, policy in POLICIES.items():
            print(f"{load:4.2f}  {name:6}  {_row(figures(tasks, gpus, replay(tasks, gpus, policy)))}", flush=True)
    return 0


def _row(found: Figures) -> str:
    waits = f"{found.wait / 3600:8.1f}  {found.wait_95 / 3600:8.1f}  {found.wide / 3600:9.1f}"
    return f"{waits}  {found.slowdown:8.1f}  {found.utilisation:11.1%}"


if __name__ == "__main__":
    sys.exit(main())
