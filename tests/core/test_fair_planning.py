"""Fair share through the planner: users who always have jobs of their own kind waiting, over a week."""

from __future__ import annotations

from math import inf
from random import Random
from typing import Any

import pytest
from machine_room import SPEC

from gflowd.core import schedule
from gflowd.core.capacity import Capacity, Device
from gflowd.core.fairshare import Shares
from gflowd.core.line import Line
from gflowd.core.model import Identity, Job, Queued, Run, Running, Started, Wish
from gflowd.core.occupancy import Occupancy, hold
from gflowd.core.schedule import Rules

HOUR = 3600.0
WEEK = 168 * HOUR
BEGIN = 1_700_000_000.0
SHARES = Shares(enabled=True, half_life=WEEK, cpu_weight=0.05)
MACHINE = Capacity(tuple(Device(index) for index in range(4)), cpus=64, memory_mb=1000)
WAITING = 4  # jobs that each user always has in the queue


class Week:
    """`kinds`: of each user, how many GPUs a job asks for and how many seconds it takes at most."""

    def __init__(self, kinds: dict[str, tuple[int, float]], seed: int = 1) -> None:
        self.kinds = kinds
        self.random = Random(seed)
        self.had = dict.fromkeys(kinds, 0.0)
        self.usage: dict[str, Any] = {}
        self.live: dict[int, tuple[Job, float]] = {}
        self.jobs: dict[int, Job] = {}
        self.line = Line()
        self.next_id = 1
        for user in list(kinds) * WAITING:
            self.submit(user)

    def submit(self, user: str) -> None:
        gpus, limit = self.kinds[user]
        spec = SPEC.replace(user=user, gpus=gpus, time_limit=limit)
        job = Job(self.next_id, spec, Wish(), Queued())
        self.jobs[job.id] = job
        self.line.add(job)
        self.next_id += 1

    def run(self) -> None:
        now = BEGIN
        while now < BEGIN + WEEK:
            self.start(now)
            now = min(end for _, end in self.live.values())
            for job_id in [job_id for job_id, (_, end) in self.live.items() if end <= now]:
                job, _ = self.live.pop(job_id)
                assert isinstance(job.phase, Running)
                user, began = job.spec.user, job.phase.started.at
                self.had[user] += job.spec.gpus * (now - began)
                self.usage[user] = SHARES.record(self.usage.get(user), job.spec, began, now)

    def start(self, now: float) -> None:
        room = Occupancy(MACHINE, range(4), now)
        for job, _ in self.live.values():
            assert job.run is not None
            assert isinstance(job.phase, Running)
            room.take(hold(job.spec, job.run.gpu_ids, job.phase.started.at + (job.spec.time_limit or inf)))
        usage = SHARES.usage(self.usage, [job for job, _ in self.live.values()], now)
        queue = (self.jobs[job_id] for job_id in self.line.walk(usage, lambda _: None))
        for job, gpu_ids in schedule.plan(queue, room, Rules(1000)).starts:
            run = Run(executor="process", launched_at=now, gpu_ids=gpu_ids)
            started = Started(at=now, mono=now, identity=Identity("b", 2, 3))
            takes = self.random.uniform(0.5, 1.0) * (job.spec.time_limit or 0.0)
            self.live[job.id] = job.replace(phase=Running(run=run, started=started)), now + takes
            self.line.drop(self.jobs.pop(job.id))
            self.submit(job.spec.user)


@pytest.mark.parametrize(
    "kinds",
    [
        {"ada": (1, HOUR), "bob": (1, HOUR)},
        {"ada": (1, HOUR), "bob": (2, 0.5 * HOUR), "eve": (4, 0.25 * HOUR)},
        {"ada": (4, HOUR), "bob": (1, 0.2 * HOUR)},
    ],
)
def test_equal_users_get_equal_gpu_time_whatever_their_jobs_are_like(kinds: dict[str, tuple[int, float]]) -> None:
    week = Week(kinds)
    week.run()
    mean = sum(week.had.values()) / len(kinds)
    assert all(abs(had - mean) <= 0.05 * mean for had in week.had.values()), week.had


def test_newcomers_with_shorter_limits_do_not_put_a_promise_off() -> None:
    """The machine is half empty, and each quarter of it is taken by the next small job as soon as it is free."""
    line, jobs = Line(), {1: Job(1, SPEC.replace(gpus=4, time_limit=HOUR), Wish(), Queued())}
    line.add(jobs[1])
    live: list[tuple[Job, tuple[int, ...], float]] = []
    promised: int | None = None
    for number in range(2, 40):
        now = BEGIN + 50.0 * number
        live = [each for each in live if each[2] > now]
        jobs[number] = Job(number, SPEC.replace(gpus=1, time_limit=100.0), Wish(), Queued())
        line.add(jobs[number])
        room = Occupancy(MACHINE, range(4), now)
        for job, gpu_ids, end in live:
            room.take(hold(job.spec, gpu_ids, end))
        first = None if promised is None else jobs.get(promised)
        queue = [jobs[job_id] for job_id in line.walk({}, lambda _: None, first)]
        plan = schedule.plan(queue, room, Rules(1000))
        promised = None if plan.promise is None else plan.promise.job.id
        for job, gpu_ids in plan.starts:
            line.drop(jobs.pop(job.id))
            live.append((job, gpu_ids, now + (job.spec.time_limit or 0.0)))
        if 1 not in jobs:
            break
    assert number < 8
