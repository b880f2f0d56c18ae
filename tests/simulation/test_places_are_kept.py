"""Who is first stays first: short scenes with simulated GPUs, in virtual time."""

from __future__ import annotations

import signal

import pytest
from support import depth
from virtual_jobs import Fate
from virtual_run import VirtualRun

from gflowd.core.job.dependencies import Dependency, Needs

HOUR = 3600.0
NO_RULES = ()  # what is asserted here says more
SAFETY = ("given twice", "phases", "ends")


@pytest.mark.parametrize("seed", depth.some(range(12), 4))
def test_a_wide_job_keeps_its_place_while_its_gpus_are_looked_at(seed: int) -> None:
    with VirtualRun(seed, gpus=4, rules=NO_RULES) as run:
        run.submit(gpus=4, takes=60.0)
        run.go(10.0)
        wide = run.submit(gpus=4, time_limit=5.0, takes=3.0)
        run.go(1.0)
        narrow = run.submit(gpus=1, time_limit=HOUR, takes=100.0)
        run.go(300.0)
        wide_at, narrow_at = run.started_at(wide), run.started_at(narrow)
        assert wide_at is not None
        assert narrow_at is not None
        assert wide_at < narrow_at


def test_a_stream_of_small_jobs_without_limits_does_not_starve_a_wide_one() -> None:
    with VirtualRun(gpus=8, cpus=64, rules=NO_RULES) as run:
        for number in range(8):
            run.submit(gpus=1, takes=3.0 + number)
        run.go(1.0)
        wide = run.submit(gpus=4, takes=1.0)
        stream = [run.submit(gpus=1, takes=6.0) for _ in range(60)]
        run.go_until(lambda: run.started_at(wide) is not None, HOUR)
        started = sum(run.started_at(each) is not None for each in stream)
        assert run.started_at(wide) is not None
        assert started <= 30


def test_a_wide_job_starts_while_small_ones_without_limits_keep_coming() -> None:
    with VirtualRun(gpus=8, cpus=64, rules=NO_RULES) as run:
        wide = None
        for number in range(depth.number(400, 120)):
            run.submit(gpus=1, takes=200.0)
            run.go(24.0)
            if number == 50:
                wide = run.submit(gpus=6, takes=60.0)
        assert wide is not None
        assert run.started_at(wide) is not None


@pytest.mark.parametrize("seed", range(4))
def test_who_waits_for_a_start_is_not_left_to_the_net(seed: int) -> None:
    with VirtualRun(seed, rules=NO_RULES) as run:
        first = run.submit()
        run.fates[first] = Fate(HOUR, begins_after=10.0)
        run.go(1.0)
        second = run.submit(takes=1.0, needs=Needs(dependencies=(Dependency(kind="after", id=first),)))
        run.go(12.0)
        assert run.started_at(second) is not None


@pytest.mark.parametrize("point", ["commit", "write", "launch", "post"])
def test_a_scheduler_killed_at_any_point_of_a_start_starts_the_job_once(point: str) -> None:
    with VirtualRun(gpus=2) as run:
        run.go(5.0)
        run.daemon.kill_point = point
        job_id = run.submit(gpus=1, takes=20.0)
        run.go(120.0)
        assert [each.key for each in run.jobs.attempts.values()] == [(job_id, 1)]
        assert run.ledger.jobs[job_id].phase["state"] == "finished"


def test_a_job_that_heeds_no_signal_gives_its_gpus_back_only_when_it_is_dead() -> None:
    with VirtualRun(gpus=1, rules=SAFETY) as run:
        deaf = run.submit(gpus=1, time_limit=30.0)
        run.fates[deaf] = Fate(HOUR, heeds=frozenset((signal.SIGUSR1,)), dies_after=3.0)
        run.go(1.0)
        following = run.submit(gpus=1, takes=5.0)
        run.go(120.0)
        assert run.ledger.jobs[deaf].phase["state"] == "timeout"
        started = run.started_at(following)
        assert started is not None
        assert started > 43.0  # its limit, its grace, and what dying took
