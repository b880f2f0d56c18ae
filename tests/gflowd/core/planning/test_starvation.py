"""Whole days of a busy machine, with jobs of many priorities: nobody waits for those behind."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from machine_room import Clockwork, job
from support import depth

from gflowd.core.accounting.runtimes import ASSUMED, GUESS, Length
from gflowd.core.job.model import Job
from gflowd.core.planning.backfill import Plan
from gflowd.core.queue.order import PriorityOrder, Seat, Walker, band

LIMITS = (10.0, 25.0, 40.0, 100.0)


class Ordered(Clockwork):
    """Plans in gflow's order. A promise binds while nobody waits whose priority is higher than its job's."""

    def __init__(self, jobs: list[tuple[float, Job, float]], promise_after: float = 0.0) -> None:
        super().__init__(jobs, promise_after=promise_after)
        self.jobs = {each.id: each for _, each, _ in jobs}
        self.ahead: dict[int, set[int]] = {job_id: set() for job_id in self.jobs}  # who was before it at any time

    def _plan(self) -> Plan:
        line, waiting = PriorityOrder(), {each.id: (each, Seat(self.came[each.id])) for each in self.queue}
        for pair in waiting.values():
            line.add(*pair)
        walker = Walker(self.now, {}, lambda *_: ASSUMED)
        self.queue = [waiting[job_id][0] for job_id in line.walk(walker, [waiting[job_id] for job_id in self.promises])]
        for place, each in enumerate(self.queue):
            self.ahead[each.id].update(other.id for other in self.queue[:place])
        for job_id, each in self.promises.items():
            if band(self.queue[0]) < band(each.job):
                self.promises[job_id] = replace(each, at=None)
        return super()._plan()


def busy_days(dice: Random) -> list[tuple[float, Job, float]]:
    """Mostly small jobs, a few that need the whole machine, somewhat more than it can bear."""
    jobs, at = [], 0.0
    for number in range(1, depth.number(301, 151)):
        at += dice.expovariate(1 / 8)
        limit = dice.choice(LIMITS)
        fields = {"gpus": dice.choice((0, 1, 1, 1, 1, 2, 4)), "cpus": dice.choice((0, 1, 2))}
        drawn = job(number, priority=dice.choice((0, 10, 20)), time_limit=limit, **fields)
        jobs.append((at, drawn, limit * dice.choice((0.1, 0.5, 1.0))))
    return jobs


@pytest.mark.parametrize("promise_after", [0.0, 1.0, 16.0])
@pytest.mark.parametrize("seed", depth.some(range(8), 2))
def test_no_job_waits_longer_than_its_promise_is_due_and_those_before_it_may_run(
    seed: int, promise_after: float
) -> None:
    machine = Ordered(busy_days(Random(seed)), promise_after)
    for _ in machine.run():
        pass
    assert machine.started.keys() == machine.jobs.keys()
    for job_id, (start, _) in machine.started.items():
        due = promise_after * (machine.jobs[job_id].spec.time_limit or 0.0)
        assert start - machine.came[job_id] <= due + max(LIMITS) * (1 + len(machine.ahead[job_id]))


@pytest.mark.parametrize("seed", depth.some(range(4), 1))
def test_those_that_want_the_whole_machine_wait_less_the_sooner_a_promise_is_due(seed: int) -> None:
    waits = []
    for promise_after in (0.0, 1000.0):
        days = [
            (at, each.replace(spec=each.spec.replace(priority=10)), takes)
            for at, each, takes in busy_days(Random(seed))
        ]
        machine = Ordered(days, promise_after)
        for _ in machine.run():
            pass
        wide = [job_id for job_id, each in machine.jobs.items() if each.spec.gpus == 4]
        waits.append(max(machine.started[job_id][0] - machine.came[job_id] for job_id in wide))
    assert waits[0] < waits[1]


class Mistaken(Clockwork):
    """Takes every job to run for twenty seconds."""

    promise_within = 20.0

    def length(self, each: Job) -> Length:
        return Length(20.0, GUESS)


def test_a_stream_that_runs_longer_than_predicted_puts_nobody_off_for_ever() -> None:
    stream = [(10.0 * number, job(2 + number, gpus=1, cpus=0), 35.0) for number in range(200)]
    machine = Mistaken(sorted([*stream, (15.0, job(1, gpus=4), 50.0)], key=lambda each: each[0]))
    for _ in machine.run(until=2000.0):
        pass
    assert machine.started[1][0] <= 35.0 + 10 * 20.0 + 2 * 35.0 + 20.0
