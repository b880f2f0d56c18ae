"""Attempts that stand still and go on, as the enforcer sees to it: level by level, whoever dies in between."""

from __future__ import annotations

import itertools
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from stage import Jobs, eventually, live, now, slots_of

from gflowd.core.execution.observations import LiveJob
from gflowd.core.job.model import Identity, Pauses
from gflowd.effects.attempt import jobdir
from gflowd.effects.kernel import processes
from gflowd.effects.kernel.cgroups import Cgroups
from gflowd.workers import attempt_processes
from gflowd.workers.base import Turn, Wiring
from gflowd.workers.timeout_enforcer import worker as timeout_enforcer
from gflowd.workers.timeout_enforcer.worker import TimeoutEnforcer

# Forks a child that forks a child for each step, and notes each CONT.
LOOP = "while :; do sleep 0.01; echo x >>steps; done"
BUSY = f"trap 'echo CONT >>got' CONT; echo >here; ({LOOP}) & wait $!; wait $!; wait $!"
ONCE = Pauses(count=1, seconds=1.0)


@pytest.fixture
def wiring(wiring: Wiring) -> Wiring:
    """One by which no log needs to be looked at while a test lasts."""
    return replace(wiring, config=replace(wiring.config, log_max_size=1 << 50))


@pytest.fixture
def enforcer(wiring: Wiring) -> TimeoutEnforcer:
    return timeout_enforcer.open(wiring)


def tick(enforcer: TimeoutEnforcer, *jobs: LiveJob, **moment: object) -> Turn:
    return enforcer.tick(now(**moment), slots_of(*jobs))


def busy(jobs: Jobs) -> Identity:
    identity = jobs.start(1, BUSY)
    eventually(lambda: (jobs.directory(1) / "here").exists() and steps(jobs) > 2)
    return identity


def steps(jobs: Jobs) -> int:
    path = jobs.directory(1) / "steps"
    return len(path.read_text().splitlines()) if path.exists() else 0


def got(jobs: Jobs) -> list[str]:
    path = jobs.directory(1) / "got"
    return path.read_text().split() if path.exists() else []


def others(jobs: Jobs, identity: Identity) -> list[processes.Process]:
    """All of the job but `job.sh`."""
    found = processes.members({(1, 1): (identity, processes.job_mark(jobs.state.root, 1, 1))}, 0)[1, 1]
    return [process for process in found if process.pid != identity.pid]


# A child that has not yet called execve(2) or ended, and its parent, which the kernel lets wait for that (vfork(2)).
VFORK = """
import ctypes, os, time
open("here", "w").close()
if not ctypes.CDLL(None).syscall(56, 0x4000 | 17, 0, 0, 0, 0):  # clone(CLONE_VFORK | SIGCHLD) of x86-64
    while not os.path.exists("gate"):
        time.sleep(0.01)
    os._exit(0)
open("over", "w").close()
time.sleep(1000)
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the number of clone(2) is another here")
def test_a_parent_amid_a_vfork_stands_still_with_its_child_and_goes_on_with_it(
    enforcer: TimeoutEnforcer, jobs: Jobs
) -> None:
    identity = jobs.start(1, f"exec {shlex.quote(sys.executable)} -c {shlex.quote(VFORK)}")
    eventually(lambda: (jobs.directory(1) / "here").exists() and len(others(jobs, identity)) == 2)
    job = live(1, identity, suspended=True)
    at = tick(enforcer, job, mono=100.0).wake_at
    eventually(lambda: stands_still(jobs, identity))
    assert at == pytest.approx(100.05)
    assert tick(enforcer, job, mono=at).wake_at == pytest.approx(at + 0.1), "nothing runs that was to be stopped"
    tick(enforcer, live(1, identity, pauses=ONCE))
    (jobs.directory(1) / "gate").touch()
    eventually((jobs.directory(1) / "over").exists)


def stands_still(jobs: Jobs, identity: Identity) -> bool:
    found = others(jobs, identity)
    return bool(found) and all(map(processes.stands_still, found))


def test_all_but_the_script_are_stopped_and_looked_at_again_ever_more_rarely(
    enforcer: TimeoutEnforcer, jobs: Jobs
) -> None:
    identity = busy(jobs)
    job = live(1, identity, suspended=True)
    at = time.monotonic()
    first = tick(enforcer, job, mono=at)
    eventually(lambda: stands_still(jobs, identity))
    leader = processes.read(identity.pid)
    assert leader is not None
    assert not leader.stopped, "it has the status to record"
    assert first.wake_at is not None
    looks = [at, first.wake_at]
    for _ in range(9):
        wake_at = tick(enforcer, job, mono=looks[-1]).wake_at
        assert wake_at is not None
        looks.append(wake_at)
    waits = [after - before for before, after in itertools.pairwise(looks)]
    assert waits[:4] == pytest.approx([0.05, 0.1, 0.2, 0.4])
    assert waits[-1] == pytest.approx(5.0)
    os.kill(others(jobs, identity)[0].pid, signal.SIGCONT)
    turn = tick(enforcer, job, mono=looks[-1])
    eventually(lambda: stands_still(jobs, identity))
    assert turn.wake_at == pytest.approx(looks[-1] + 0.05), "where one was started again others may be"


def test_it_goes_on_once_even_if_those_who_said_so_died(enforcer: TimeoutEnforcer, jobs: Jobs, wiring: Wiring) -> None:
    identity = busy(jobs)
    tick(enforcer, live(1, identity, suspended=True))
    eventually(lambda: stands_still(jobs, identity))
    before = steps(jobs)
    goes_on = live(1, identity, pauses=ONCE)
    successor = timeout_enforcer.open(wiring)

    def has_gone_on() -> bool:
        tick(successor, goes_on)
        return steps(jobs) > before and got(jobs) == ["CONT"]

    eventually(has_gone_on)
    assert jobdir.is_marked(str(jobs.directory(1)), "CONT.1")
    own = next(process for process in others(jobs, identity) if process.parent == identity.pid)
    os.kill(own.pid, signal.SIGSTOP)  # by the job's own doing
    eventually(lambda: (seen := processes.read(own.pid)) is not None and seen.stopped)
    for each in (enforcer, timeout_enforcer.open(wiring)):
        tick(each, goes_on)
        tick(each, goes_on)
    seen = processes.read(own.pid)
    assert seen is not None
    assert seen.stopped
    assert got(jobs) == ["CONT"]


def test_an_enforcer_that_died_before_all_went_on_has_a_successor_that_sees_to_it(
    enforcer: TimeoutEnforcer, jobs: Jobs, wiring: Wiring
) -> None:
    identity = busy(jobs)
    tick(enforcer, live(1, identity, suspended=True))
    eventually(lambda: stands_still(jobs, identity))
    head = next(process for process in others(jobs, identity) if process.parent == identity.pid)
    processes.send(head, (signal.SIGCONT,))  # and died
    tick(timeout_enforcer.open(wiring), live(1, identity, pauses=ONCE))
    before = steps(jobs)
    eventually(lambda: steps(jobs) > before)


def test_a_full_disk_keeps_no_attempt_from_going_on(enforcer: TimeoutEnforcer, jobs: Jobs) -> None:
    identity = busy(jobs)
    tick(enforcer, live(1, identity, suspended=True))
    eventually(lambda: stands_still(jobs, identity))
    before = steps(jobs)
    place = jobs.directory(1)
    place.rename(f"{place}.away")  # stands for one: no mark can be made
    goes_on = live(1, identity, pauses=ONCE)
    tick(enforcer, goes_on)
    Path(f"{place}.away").rename(place)
    eventually(lambda: steps(jobs) > before)
    tick(enforcer, goes_on)
    assert not jobdir.is_marked(str(place), "CONT.1")


def test_the_processes_of_another_boot_are_let_alone(enforcer: TimeoutEnforcer, jobs: Jobs) -> None:
    identity = busy(jobs)
    job = live(1, Identity("an old boot", identity.pid, identity.start), suspended=True)
    tick(enforcer, job)
    before = steps(jobs)
    eventually(lambda: steps(jobs) > before + 2)
    tick(enforcer, live(1, suspended=True))  # nor one that nobody saw begin


TREE = "/sys/fs/cgroup/unified"


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Cgroups]:
    """A place for control groups that can be frozen, whether or not they can be limited."""
    mount = next((each for each in ("/sys/fs/cgroup", TREE) if os.access(f"{each}/cgroup.procs", os.W_OK)), None)
    if mount is None:
        pytest.skip("no control groups here that we may make")
    root = Path(mount, f"gflow-test-{os.getpid()}")
    place = root / "1.1"
    try:
        place.mkdir(parents=True)
    except OSError:
        pytest.skip("no control groups here that we may make")
    if not (place / "cgroup.freeze").exists():
        pytest.skip("a kernel that cannot freeze groups")
    found = Cgroups(str(root))
    yield found
    found.kill((1, 1))
    deadline = time.monotonic() + 60
    while root.exists() and time.monotonic() < deadline:
        found.close(age=0.0)
        time.sleep(0.02)
    assert not root.exists()


def test_an_attempt_with_a_group_is_frozen_and_hears_of_nothing(
    wiring: Wiring, jobs: Jobs, group: Cgroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_processes.cgroups, "find", lambda _: group)
    enforcer = timeout_enforcer.open(wiring)
    identity = jobs.start(1, f"echo $$ >{group.path((1, 1))}/cgroup.procs; {BUSY}")
    eventually(lambda: (jobs.directory(1) / "here").exists() and steps(jobs) > 2)
    tick(enforcer, live(1, identity, suspended=True))
    eventually(lambda: "frozen 1" in Path(group.path((1, 1)), "cgroup.events").read_text())
    before = steps(jobs)
    time.sleep(0.1)
    assert steps(jobs) == before
    assert not any(process.stopped for process in others(jobs, identity))
    tick(enforcer, live(1, identity, pauses=ONCE))
    eventually(lambda: steps(jobs) > before)
    assert got(jobs) == []


def test_a_frozen_attempt_that_must_end_is_let_go_first(
    wiring: Wiring, jobs: Jobs, group: Cgroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_processes.cgroups, "find", lambda _: group)
    enforcer = timeout_enforcer.open(wiring)
    text = f"echo $$ >{group.path((1, 1))}/cgroup.procs; trap 'exit 7' INT; echo >here; while :; do sleep 0.01; done"
    identity = jobs.start(1, text)
    eventually((jobs.directory(1) / "here").exists)
    tick(enforcer, live(1, identity, suspended=True))
    eventually(lambda: "frozen 1" in Path(group.path((1, 1)), "cgroup.events").read_text())
    since = time.monotonic()
    tick(enforcer, live(1, identity, pauses=ONCE, why="CancelledByUser", since_mono=since, since_boot=now().boot))
    jobs.wait()
    assert (jobs.directory(1) / "exit").read_text() == "7\n"
