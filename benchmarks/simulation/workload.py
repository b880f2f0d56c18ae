"""Workloads: the jobs of a trace, as they come to a machine of a given size at a given load, with or without limits.

Two formats are told apart by what is in them: Standard Workload Format (`swf`), of which processors are taken as GPUs,
and lines of `submitted width seconds limit user` with comments after `#` and a limit of -1 where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from math import isfinite
from random import Random

import swf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

STRETCH = 500  # jobs: each so many in a row offer the load
SLACK = (1.0, 5.0)  # a limit that the trace does not tell is the run time times something in between
HABIT = 0.85  # the part of the choice to give no limit that is the user's habit, not the job's


@dataclass(frozen=True, slots=True)
class Job:
    """Times in seconds, `submitted` since the trace began. `runs`: how long it does, or would if nothing ended it;
    `limit`: what its user says that it takes at most, None: nothing.
    """

    id: int
    submitted: float
    gpus: int
    runs: float
    limit: float | None
    user: str


def read(lines: Iterable[str]) -> list[Job]:
    """The jobs of a trace that ran, in order of submission. Raises ValueError, for a line that is none with its number.

    A limit is None where the trace tells none.
    """
    kept = list(lines)
    first = next((line.split() for line in kept if line.strip() and line.lstrip()[0] not in ";#"), [])
    found = _records(swf.read(kept)) if len(first) == len(swf.Record._fields) else _lines(kept)
    jobs = sorted((job for job in found if job.runs > 0 and job.gpus > 0), key=lambda job: job.submitted)
    return [replace(job, id=number) for number, job in enumerate(jobs, 1)]


def _records(trace: swf.Trace) -> Iterator[Job]:
    for each in trace.records:
        gpus = each.asked_processors if each.asked_processors > 0 else each.processors
        limit = float(each.asked_time) if each.asked_time > 0 else None
        yield Job(0, each.submitted, int(gpus), each.ran, limit, str(each.user))


def _lines(lines: Iterable[str]) -> Iterator[Job]:
    for number, line in enumerate(lines, 1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        if len(fields) != 5:
            raise ValueError(f"line {number}: {len(fields)} fields, neither 5 nor those of Standard Workload Format")
        try:
            submitted, gpus, runs, limit = (float(field) for field in fields[:4])
        except ValueError:
            raise ValueError(f"line {number}: a field is no number") from None
        if not all(map(isfinite, (submitted, gpus, runs, limit))):
            raise ValueError(f"line {number}: a field is no number")
        yield Job(0, submitted, int(gpus), runs, limit if limit > 0 else None, fields[4])


def offered(
    jobs: Iterable[Job],
    gpus: int,
    load: float | None = None,
    no_limit: float = 0.0,
    seed: int = 1,
    first: int | None = None,
) -> list[Job]:
    """What is replayed of a trace on a machine with so many GPUs: the `first` so many of the jobs that fit it.

    They offer `load`, None: come as they did; give limits, also where the trace tells none, but for the part
    `no_limit` of them; and end at their limit, if not before. Equal seeds make equal jobs, and neither the load nor
    `no_limit` changes a limit that is given. Raises ValueError when fewer than two jobs are left.
    """
    fitting = [job for job in jobs if job.gpus <= gpus][:first]
    if len(fitting) < 2 or fitting[0].submitted == fitting[-1].submitted:
        raise ValueError("there are not enough jobs in it that the machine could run")
    limited = list(_limited(fitting, Random(f"limits {seed}")))  # noqa: S311 -- seeded on purpose
    spread = limited if load is None else at_load(limited, gpus, load)
    return list(_reticent(spread, no_limit, Random(f"habits {seed}")))  # noqa: S311 -- seeded on purpose


def at_load(jobs: Sequence[Job], gpus: int, load: float) -> list[Job]:
    """The jobs with the times between their submissions scaled, so that each `STRETCH` in a row need that part of all
    GPUs' time between the first of them and the first after them; a rest of less than half as many goes with those
    before. Where all came at once they are spread evenly.
    """
    starts = list(range(0, len(jobs), STRETCH))
    if len(starts) > 1 and len(jobs) - starts[-1] < STRETCH // 2:
        starts.pop()
    made, now = [], 0.0
    for start, end in pairwise([*starts, len(jobs)]):
        part = jobs[start:end]
        wanted = sum(job.gpus * job.runs for job in part) / (gpus * load)
        until = jobs[min(end, len(jobs) - 1)].submitted
        span = until - part[0].submitted
        for number, job in enumerate(part):
            passed = (job.submitted - part[0].submitted) / span if span > 0 else number / len(part)
            made.append(replace(job, submitted=now + wanted * passed))
        now += wanted
    return made


def _limited(jobs: Iterable[Job], dice: Random) -> Iterator[Job]:
    for job in jobs:
        drawn = job.runs * dice.uniform(*SLACK)
        limit = drawn if job.limit is None else job.limit
        yield replace(job, limit=limit, runs=min(job.runs, limit))


def _reticent(jobs: Sequence[Job], share: float, dice: Random) -> Iterator[Job]:
    """The jobs, of which a share gives no limit: the users have the habit who come first in a random order and have
    that share of the jobs together; the one in between has it in part, so that the share is met however few they are.
    """
    count: dict[str, int] = {}
    for job in jobs:
        count[job.user] = count.get(job.user, 0) + 1
    left, habit = share * len(jobs), {}
    for user in dice.sample(sorted(count), len(count)):
        habit[user] = min(1.0, max(0.0, left / count[user]))
        left -= count[user]
    for job in jobs:
        chance = habit[job.user] if dice.random() < HABIT else share
        yield replace(job, limit=None) if dice.random() < chance else job
