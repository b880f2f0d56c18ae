from __future__ import annotations

import contextlib
import os
import pwd
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import depth, descriptors
from support.waiting import eventually

from gflowd.core.job.model import Identity
from gflowd.effects import proc
from gflowd.effects.kernel import processes

Spawn = Callable[..., subprocess.Popen[bytes]]
BOOT = proc.boot_id()
LIMIT = 60.0  # seconds: patience with a busy machine, no promise
ROOT = f"/state of/a user {os.getpid()}"  # nobody else's: jobs are looked for on the whole machine


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Starts a shell line in a session of its own; whatever carries our mark ends with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(line: str, **environment: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            ["/bin/sh", "-c", line], env={**os.environ, **environment}, start_new_session=True, stdin=subprocess.DEVNULL
        )
        started.append(process)
        return process

    yield start
    mark = f"\0GFLOW_TEST_MARK={os.environ['GFLOW_TEST_MARK']}\0".encode()

    def end_all() -> bool:
        """By their sessions too: who is just replacing its program carries no mark."""
        sessions = {child.pid for child in started if child.poll() is None}
        everyone = [process for process in processes.everyone().values() if process.pid != os.getpid()]
        ours = [each.pid for each in everyone if each.session in sessions or mark in processes._environment(each.pid)]
        for pid in ours:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not ours

    eventually(end_all)
    for child in started:
        child.wait(LIMIT)


def identity(pid: int) -> Identity:
    found = processes.read(pid)
    assert found is not None
    return found.identity(BOOT)


def marks(job_id: int, attempt: int = 1, root: str = ROOT) -> dict[str, str]:
    return {"GFLOW_JOB_ID": str(job_id), "GFLOW_ATTEMPT": str(attempt), "GFLOW_STATE_DIR": root}


def of_job(leader: Identity | None, job_id: int = 7, spare: int = 0) -> set[int]:
    key = job_id, 1
    found = processes.members({key: (leader, processes.job_mark(ROOT, *key))}, spare)
    return {process.pid for process in found[key]}


def children(pid: int) -> set[int]:
    return {process.pid for process in processes.everyone().values() if process.parent == pid}


def test_of_those_that_began_earlier_than_is_asked_for_only_the_new_are_read(spawn: Spawn) -> None:
    child = spawn("sleep 30")
    found = processes.everyone()[child.pid]
    assert child.pid in processes.everyone(found.start)
    assert child.pid not in processes.everyone(found.start + 1)
    assert child.pid not in processes.everyone(found.start + 1)
    assert child.pid in processes.everyone()


def test_a_process_is_read_and_is_itself() -> None:
    me = processes.read(os.getpid())
    assert me is not None
    assert me.parent == os.getppid()
    assert processes.lives(me.identity(BOOT), BOOT)
    assert me.pid in processes.everyone()


def test_the_dead_the_recycled_and_those_of_another_boot_do_not_live(spawn: Spawn) -> None:
    child = spawn("exit 0")
    eventually(lambda: (found := processes.read(child.pid)) is not None and found.zombie)
    corpse = identity(child.pid)
    assert not processes.lives(corpse, BOOT)
    assert child.pid not in processes.everyone()
    child.wait()
    assert processes.read(child.pid) is None
    assert not processes.lives(corpse, BOOT)
    me = identity(os.getpid())
    assert not processes.lives(me.replace(start=me.start + 1), BOOT)
    assert not processes.lives(me, "another boot")
    assert not processes.lives(me.replace(boot="another boot"), BOOT)


def test_when_a_process_started_is_known_on_the_monotonic_clock(spawn: Spawn) -> None:
    before = time.monotonic()
    child = spawn("sleep 60")
    after = time.monotonic()
    assert before - 0.02 <= processes.started_mono(identity(child.pid).start) <= after + 0.02
    assert processes.started_mono(1 << 50) <= time.monotonic(), "never in the future"


def test_a_start_is_known_although_who_asks_is_held_up_between_two_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    boot, late = time.clock_gettime(time.CLOCK_BOOTTIME), iter((3.0, 0.0))
    monkeypatch.setattr(time, "clock_gettime", lambda _: boot)
    monkeypatch.setattr(time, "monotonic", lambda: boot + next(late, 1.0))
    assert processes.started_mono(0) == pytest.approx(1 / processes.TICKS)


def test_descendants_belong_to_a_job(spawn: Spawn) -> None:
    child = spawn("sleep 60 & (sleep 60; :) & wait")
    eventually(lambda: len(of_job(identity(child.pid))) == 4)
    assert {child.pid} | children(child.pid) <= of_job(identity(child.pid))


def test_members_of_its_session_belong_to_a_job_when_their_parents_are_gone(spawn: Spawn) -> None:
    child = spawn("(sleep 60 & sleep 60 &) ; sleep 60")

    def orphans() -> set[int]:
        return of_job(identity(child.pid)) - children(child.pid) - {child.pid}

    eventually(lambda: len(children(child.pid)) == 1 and len(orphans()) == 2)  # the shell between them has ended


def test_who_left_the_session_belongs_by_the_mark_that_it_carries(spawn: Spawn, tmp_path: Path) -> None:
    left = tmp_path / "left"
    text = f"setsid sh -c 'echo >{left}; exec sleep 60' & until [ -e {left} ]; do sleep 0.01; done"
    spawn(text, **marks(7)).wait()
    eventually(lambda: of_job(None))  # it may be replacing its program
    assert len(of_job(None)) == 1
    assert of_job(None, job_id=8) == set()


def test_a_process_that_is_just_replacing_its_program_is_not_overlooked(spawn: Spawn, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.write_text('#!/bin/sh\ni=0; while [ $i -lt 5000 ]; do i=$((i + 1)); done; exec "$0"\n')
    again.chmod(0o700)
    child = spawn(f"echo; exec {again}", **marks(7))
    many = depth.number(200, 50)
    assert [of_job(None) for _ in range(many)] == [{child.pid}] * many


def test_a_program_that_is_replaced_slowly_is_waited_for(spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    child = spawn("echo; exec sleep 60", **marks(7))
    eventually(lambda: of_job(None) == {child.pid})
    environment, left = proc.environment, [6]

    def none_yet(pid: int) -> bytes:
        if pid != child.pid or not left[0]:
            return environment(pid)
        left[0] -= 1
        return b""

    monkeypatch.setattr(proc, "environment", none_yet)
    assert of_job(None) == {child.pid}


def test_a_process_without_an_environment_is_not_waited_for(spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    child = spawn("echo; exec env -i sleep 60", **marks(7))
    eventually(lambda: proc.name(child.pid) == b"sleep" and not proc.environment(child.pid))
    found = processes.read(child.pid)
    assert found is not None
    with monkeypatch.context() as patched:
        patched.setattr(time, "sleep", lambda seconds: pytest.fail("waited") if seconds else None)
        assert processes._environments([found]) == {child.pid: b"\0"}


def test_the_descendants_of_a_marked_process_belong_too(spawn: Spawn) -> None:
    child = spawn("env -i sleep 60 & env -i sleep 60 & wait", **marks(7))
    eventually(lambda: len(of_job(None)) == 3)
    assert of_job(None) == {child.pid} | children(child.pid)


@pytest.mark.parametrize(
    "other",
    [
        marks(7, root="/another"), marks(7, root=ROOT + "/x"), marks(7, attempt=2), marks(7, attempt=11), marks(77),
        {"GFLOW_JOB_ID": "7", "GFLOW_ATTEMPT": "1"},
        {"X": "GFLOW_JOB_ID=7", "GFLOW_ATTEMPT": "1", "GFLOW_STATE_DIR": ROOT},
    ],
)  # fmt: skip
def test_the_same_number_elsewhere_is_not_this_job(spawn: Spawn, other: dict[str, str]) -> None:
    child = spawn("echo; exec sleep 60", **other)
    eventually(lambda: processes._environment(child.pid) != b"\0")
    assert of_job(None) == set()


def test_a_mark_at_the_very_front_of_the_environment_counts(spawn: Spawn) -> None:
    words = [f"{name}={value}" for name, value in marks(7).items()]
    mark = f"GFLOW_TEST_MARK={os.environ['GFLOW_TEST_MARK']}"
    child = subprocess.Popen(["/usr/bin/env", "-i", *words, mark, "sleep", "60"])
    try:
        eventually(lambda: of_job(None) == {child.pid})
    finally:
        child.kill()
        child.wait()


def test_a_recycled_leader_is_a_stranger(spawn: Spawn) -> None:
    child = spawn("sleep 60 & wait")
    leader = identity(child.pid)
    eventually(lambda: len(of_job(leader)) == 2)
    assert of_job(leader.replace(start=leader.start + 1)) == set()
    assert of_job(leader.replace(boot="another boot")) == set()


def test_the_daemon_and_its_workers_belong_to_no_job_though_they_carry_its_mark(spawn: Spawn) -> None:
    daemon = spawn("sleep 60 & sleep 60 & wait", **marks(7))
    eventually(lambda: len(of_job(None)) == 3)
    assert of_job(None, spare=daemon.pid) == set()
    assert of_job(identity(daemon.pid), spare=daemon.pid) == set()


def test_jobs_are_told_apart_in_one_pass(spawn: Spawn) -> None:
    one, two = spawn("sleep 60", **marks(1)), spawn("sleep 60", **marks(2))
    eventually(lambda: of_job(None, 1) and of_job(None, 2))
    leaders = {
        (1, 1): (identity(one.pid), processes.job_mark(ROOT, 1, 1)),
        (2, 1): (None, processes.job_mark(ROOT, 2, 1)),
        (3, 1): (None, processes.job_mark(ROOT, 3, 1)),
    }
    found = {key: {p.pid for p in of_key} for key, of_key in processes.members(leaders, 0).items()}
    assert one.pid in found[1, 1]
    assert two.pid in found[2, 1]
    assert not found[1, 1] & found[2, 1]
    assert found[3, 1] == set()


def test_a_signal_reaches_that_very_process(spawn: Spawn) -> None:
    child = spawn("exec sleep 60")
    process = processes.read(child.pid)
    assert process is not None
    assert processes.send(process, [signal.SIGTERM])
    assert child.wait(LIMIT) == -signal.SIGTERM
    assert not processes.send(process, [signal.SIGTERM])


def test_several_signals_are_sent_in_their_order(spawn: Spawn) -> None:
    child = spawn("exec sleep 60")
    os.kill(child.pid, signal.SIGSTOP)
    eventually(lambda: os.waitpid(child.pid, os.WUNTRACED | os.WNOHANG)[0])
    process = processes.read(child.pid)
    assert process is not None
    assert processes.send(process, [signal.SIGINT, signal.SIGCONT])
    assert child.wait(LIMIT) == -signal.SIGINT


def test_a_recycled_pid_is_not_signalled(spawn: Spawn) -> None:
    child = spawn("exec sleep 60")
    found = processes.read(child.pid)
    assert found is not None
    recycled = type(found)(found.pid, found.parent, found.session, found.start - 1, found.zombie)
    assert not processes.send(recycled, [signal.SIGKILL])
    assert child.poll() is None
    assert processes.lives(found.identity(BOOT), BOOT)


def test_a_pidfd_tells_when_a_process_ends(spawn: Spawn) -> None:
    child = spawn("exec sleep 60")
    fd = processes.watch(identity(child.pid), BOOT)
    assert fd is not None
    assert not processes.ended([fd])
    child.kill()
    assert select.select([fd], [], [], LIMIT)[0]
    assert processes.ended([fd])
    os.close(fd)


def test_only_the_living_of_this_boot_are_watched(spawn: Spawn) -> None:
    child = spawn("exec sleep 60")
    who = identity(child.pid)
    before = descriptors.ours()
    assert processes.watch(who, "another boot") is None
    assert processes.watch(who.replace(start=who.start - 1), BOOT) is None
    child.kill()
    child.wait()
    assert processes.watch(who, BOOT) is None
    assert descriptors.ours() == before


def test_an_environment_of_any_length_is_read(spawn: Spawn) -> None:
    filler = {f"FILLER_{i}": "x" * 100_000 for i in range(6)}
    spawn("exec sleep 60", **filler, **marks(7))
    eventually(lambda: len(of_job(None)) == 1)


def test_a_lineage_goes_up_to_init_or_to_whom_it_is_told() -> None:
    me, parent = os.getpid(), os.getppid()
    pids = [process.pid for process in processes.lineage(me, 0)]
    assert pids[:2] == [me, parent]
    assert 1 not in pids
    assert [process.pid for process in processes.lineage(me, parent)] == [me]
    assert processes.lineage(1 << 30, 0) == ()


def test_the_mark_of_a_process_tells_its_job(spawn: Spawn) -> None:
    marks = {job_id: processes.job_mark(ROOT, job_id, 1) for job_id in (1, 12)}
    ours = spawn("sleep 60", GFLOW_JOB_ID="12", GFLOW_ATTEMPT="1", GFLOW_STATE_DIR=ROOT)
    other = spawn("sleep 60", GFLOW_JOB_ID="12", GFLOW_ATTEMPT="1", GFLOW_STATE_DIR="/another")
    eventually(lambda: processes.marked(ours.pid, marks) == 12)
    assert processes.marked(other.pid, marks) is None
    assert processes.marked(ours.pid, {}) is None
    assert processes.marked(1 << 30, marks) is None


def test_the_user_of_a_process_is_named() -> None:
    assert processes.user(os.getpid()) == pwd.getpwuid(os.getuid()).pw_name
    assert processes.user(1 << 30) == "?"
