"""Whole days of a busy machine, with jobs of many priorities: nobody waits for those behind."""

from __future__ import annotations

from math import inf
from random import Random

import pytest
from machine_room import Clockwork, job

from gflowd.core.line import band, place
from gflowd.core.model import Job
from gflowd.core.schedule import Plan

LIMITS = (10.0, 25.0, 40.0, 100.0)


def order(each: Job) -> object:
    return band(each), place(each)


class Ordered(Clockwork):
    """Plans in gflow's order. A promise binds until somebody comes who is before the job that has it."""

    def __init__(self, jobs: list[tuple[float, Job, float]]) -> None:
        super().__init__(jobs)
        self.came = {each.id: at for at, each, _ in jobs}
        self.jobs = {each.id: each for _, each, _ in jobs}

    def _plan(self) -> Plan:
        self.queue.sort(key=order)
        first = self.queue[0] if self.queue else None
        if self.promise is not None and first is not None and order(first) < order(self.promise.job):
            self.promise = None
        return super()._plan()

    def before(self, job_id: int) -> int:
        """How many jobs that are before it in order it may have had to wait for."""
        since, start = self.came[job_id], self.started[job_id][0]
        return sum(
            order(other) < order(self.jobs[job_id])
            and self.came[other.id] <= start
            and self.started.get(other.id, (inf,))[0] >= since
            for other in self.jobs.values()
        )


def busy_days(dice: Random) -> list[tuple[float, Job, float]]:
    """Mostly small jobs, a few that need the whole machine, somewhat more than it can bear."""
    jobs, at = [], 0.0
    for number in range(1, 301):
        at += dice.expovariate(1 / 8)
        limit = dice.choice(LIMITS)
        fields = {"gpus": dice.choice((0, 1, 1, 1, 1, 2, 4)), "cpus": dice.choice((0, 1, 2))}
        drawn = job(number, priority=dice.choice((0, 10, 20)), time_limit=limit, **fields)
        jobs.append((at, drawn, limit * dice.choice((0.1, 0.5, 1.0))))
    return jobs


@pytest.mark.parametrize("seed", range(8))
def test_no_job_waits_longer_than_those_before_it_may_run(seed: int) -> None:
    machine = Ordered(busy_days(Random(seed)))
    for _ in machine.run():
        pass
    assert machine.started.keys() == machine.jobs.keys()
    waits = {job_id: start - machine.came[job_id] for job_id, (start, _) in machine.started.items()}
    for job_id, wait in waits.items():
        assert wait <= max(LIMITS) * (1 + machine.before(job_id))
