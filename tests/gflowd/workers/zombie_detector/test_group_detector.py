"""What is seen of attempts of many users, with real control groups; and what users forge, which changes nothing."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from shared_stage import UID, SharedJobs, shared_jobs
from stage import live, now, slots_of
from support.waiting import eventually

from gflowd.core.execution.observations import LiveJob, Observation
from gflowd.effects import proc
from gflowd.workers.base import Wiring, Worker
from gflowd.workers.zombie_detector import worker as zombie_detector
from gflowd.workers.zombie_detector.group_detector import HEARD_EVERY, STRAYS_AFTER, GroupDetector


@pytest.fixture
def jobs(wiring: Wiring) -> Iterator[SharedJobs]:
    with shared_jobs(wiring) as made:
        yield made


@pytest.fixture
def detector(jobs: SharedJobs) -> Iterator[Worker]:
    made = zombie_detector.open(jobs.wiring)
    assert isinstance(made, GroupDetector)
    yield made
    made.close()


@pytest.fixture
def impatient(jobs: SharedJobs) -> Iterator[Worker]:
    """One that bars what does not begin at once."""
    made = zombie_detector.open(replace(jobs.wiring, config=replace(jobs.wiring.config, start_grace=0.2)))
    yield made
    made.close()


def look(detector: Worker, *jobs: LiveJob, later: float = 0.0) -> Observation | None:
    """What it says of the first; `later`: seconds from now on the monotonic clock."""
    turn = detector.tick(now(mono=time.monotonic() + later), slots_of(*jobs))
    found: Observation | None = turn.decision.of(jobs[0].key)  # type: ignore[attr-defined]
    return found


def until(detector: Worker, job: LiveJob, what: str) -> Observation:
    """Ticks as the worker's loop does: when a descriptor has something, or something is due."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        turn = detector.tick(now(), slots_of(job))
        found: Observation | None = turn.decision.of(job.key)  # type: ignore[attr-defined]
        if found is not None and getattr(found, what):
            return found
        poll = select.poll()
        for each in turn.descriptors:
            poll.register(each, select.POLLIN)
        assert turn.wake_at is not None
        poll.poll(max(0.0, turn.wake_at - time.monotonic()) * 1000)
    raise AssertionError(what)


def test_a_job_begins_lives_and_is_complete_as_soon_as_its_group_is_empty(jobs: SharedJobs, detector: Worker) -> None:
    job = jobs.start(1, "exit 3")
    done = until(detector, job, "complete")
    assert done.started is not None
    assert (done.status, done.lives, done.strays) == (3, False, False)
    assert done.used is not None
    assert done.started.at - 1 <= (done.ended_at or 0) <= time.time() + 1
    wake_at = detector.tick(now(), slots_of(job)).wake_at
    assert wake_at is not None
    assert wake_at > time.monotonic() + 1, "nothing is due for what is over"


def test_what_it_leaves_keeps_it_alive_and_is_a_stray_after_a_while(jobs: SharedJobs, detector: Worker) -> None:
    job = jobs.start(1, "setsid env -i sleep 1000 >/dev/null 2>&1 & exit 0")
    jobs.wait()
    seen = look(detector, job)
    assert seen is not None
    assert (seen.status, seen.lives, seen.strays, seen.complete) == (0, True, False, False)
    seen = look(detector, job, later=STRAYS_AFTER + 0.1)
    assert seen is not None
    assert (seen.lives, seen.strays) == (True, True)
    jobs.groups.kill(job.key)
    assert until(detector, job, "complete").status == 0


def test_one_whose_script_is_killed_lives_as_long_as_its_processes(jobs: SharedJobs, detector: Worker) -> None:
    job = jobs.start(1, "exec sleep 1000")
    begun = until(detector, job, "lives")
    assert begun.started is not None
    eventually(lambda: jobs.command_runs(1, "sleep"))
    os.kill(begun.started.identity.pid, signal.SIGKILL)
    jobs.wait()
    assert look(detector, job, later=100.0) == begun
    jobs.groups.kill(job.key)

    def over() -> Observation | None:
        """The kernel tells some hundredths of a second later that the group is empty."""
        found = look(detector, job)
        return None if found is None or found.lives else found

    found = eventually(over)
    assert found is not None
    assert (found.status, found.complete) == (None, False)


def forge(jobs: SharedJobs, name: str, text: str) -> None:
    path = jobs.own(1) / name
    path.write_text(text)
    os.chown(path, UID, UID)


@pytest.mark.parametrize("whose", ["a stranger's", "another boot's"])
def test_a_forged_beginning_counts_for_nothing_and_is_barred(jobs: SharedJobs, impatient: Worker, whose: str) -> None:
    jobs.prepare(1, "true")
    job = live(1, uid=UID)
    boot = proc.boot_id()
    if whose == "another boot's":
        jobs.run(1, "exec sleep 1000")
        eventually(lambda: jobs.groups.is_populated(job.key))
        boot = "another"
    forge(jobs, "pid", f"{boot} {proc.stat(os.getpid()).decode()}")
    assert look(impatient, job) is None
    barred = until(impatient, job, "barred")
    assert barred.started is None
    eventually(lambda: not jobs.groups.is_populated(job.key))
    assert not jobs.own(1).joinpath("barred").exists()


def test_no_forged_end_frees_what_a_living_job_holds(jobs: SharedJobs, detector: Worker) -> None:
    job = jobs.start(1, "exec sleep 1000")
    until(detector, job, "lives")
    forge(jobs, "exit", "0\n")
    seen = look(detector, job, later=100.0)
    assert seen is not None
    assert (seen.lives, seen.complete) == (True, False)
    os.unlink(jobs.own(1) / "exit")
    os.mkfifo(jobs.own(1) / "exit")
    seen = look(detector, job, later=200.0)
    assert seen is not None
    assert (seen.lives, seen.status) == (True, None)


def test_a_bell_that_is_rung_without_end_wakes_a_few_times_a_second(jobs: SharedJobs, detector: Worker) -> None:
    job = jobs.start(1, "exec sleep 1000")
    until(detector, job, "lives")
    eventually(lambda: jobs.command_runs(1, "sleep"))  # by then its script has rung for itself
    bell = os.open(Path(jobs.state.attempt(1, 1), "bell"), os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(bell, b"e" * 100)
        turn = detector.tick(now(), slots_of(job))
        os.write(bell, b"e" * 100)
        assert select.select(turn.descriptors, [], [], 0)[0] == []
        assert turn.wake_at is not None
        assert turn.wake_at <= time.monotonic() + HEARD_EVERY
        turn = detector.tick(now(mono=turn.wake_at), slots_of(job))
        assert select.select([bell], [], [], 0)[0] == []
    finally:
        os.close(bell)
    assert look(detector, live(2, uid=UID)) is None, "it forgets who is gone while its bell is not heard"


def test_an_attempt_of_before_the_daemon_is_known_by_its_group(jobs: SharedJobs, detector: Worker) -> None:
    job = jobs.start(1, "exec sleep 1000")
    begun = until(detector, job, "lives")
    successor = zombie_detector.open(jobs.wiring)
    again = look(successor, job.replace(started=begun.started))
    assert again == begun
    successor.close()


def test_a_start_that_is_forged_to_be_late_is_no_later_than_the_group(jobs: SharedJobs, detector: Worker) -> None:
    """While nobody looked, a job has killed its script and says that it has just begun: its time limit would wait."""
    job = jobs.start(1, "exec sleep 1000")
    pid = jobs.own(1) / "pid"
    eventually(pid.exists)
    eventually(lambda: pid.read_text().endswith("\n"))
    eventually(lambda: jobs.command_runs(1, "sleep"))
    boot, leader, *fields = pid.read_text().split()
    os.kill(int(leader), signal.SIGKILL)
    jobs.wait()
    fields[20] = str(10**9)
    forge(jobs, "pid", " ".join([boot, leader, *fields]) + "\n")
    made_at = jobs.groups.made_at(job.key)
    assert made_at is not None
    seen = look(detector, job, later=100.0)
    assert seen is not None
    assert seen.lives
    assert seen.started is not None
    assert seen.started.at == made_at
    assert seen.started.mono <= time.monotonic() + 1


def test_a_record_without_a_user_holds_nobody_up(impatient: Worker) -> None:
    assert until(impatient, live(1), "barred").started is None
