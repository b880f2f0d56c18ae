"""Limits and signals for attempts of many users: everything that is in the group, and nothing else."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from shared_stage import UID, SharedJobs, shared_jobs
from stage import live, now, slots_of
from support.waiting import eventually

from gflowd.core.execution.observations import LiveJob
from gflowd.core.job import reasons
from gflowd.core.job.model import Pauses, Started
from gflowd.effects import proc
from gflowd.effects.kernel import processes
from gflowd.effects.shared_mode import attempt_directory
from gflowd.workers import attempt_processes
from gflowd.workers.base import Wiring
from gflowd.workers.timeout_enforcer import worker as timeout_enforcer
from gflowd.workers.timeout_enforcer.log_limiter import LogLimiter
from gflowd.workers.timeout_enforcer.worker import TimeoutEnforcer


@pytest.fixture
def jobs(wiring: Wiring) -> Iterator[SharedJobs]:
    with shared_jobs(wiring) as made:
        yield made


@pytest.fixture
def enforcer(jobs: SharedJobs) -> TimeoutEnforcer:
    return timeout_enforcer.open(jobs.wiring)


def begun(jobs: SharedJobs, job: LiveJob) -> LiveJob:
    """The job once it is seen to have begun."""

    def identity() -> object:
        found = attempt_directory.beginning(jobs.state, job.key, UID, jobs.groups)
        return found and found.identity

    eventually(identity)
    found = attempt_directory.beginning(jobs.state, job.key, UID, jobs.groups)
    assert found is not None
    assert found.identity is not None
    return job.replace(
        started=Started(at=found.at, mono=processes.started_mono(found.identity.start), identity=found.identity)
    )


def stopping(job: LiveJob, since: float, **fields: object) -> LiveJob:
    return job.replace(why=reasons.TIME_LIMIT, since_mono=since, since_boot=proc.boot_id(), **fields)


def tick(enforcer: TimeoutEnforcer, job: LiveJob, mono: float | None = None) -> None:
    enforcer.tick(now(mono=time.monotonic() if mono is None else mono), slots_of(job))


def status(jobs: SharedJobs) -> str:
    return (jobs.own(1) / "exit").read_text()


TRAPS = 'for s in INT TERM; do trap "echo $s >>$place/got" $s; done; echo >$place/here; while :; do sleep 0.01; done'


def heard(jobs: SharedJobs) -> list[str]:
    path = jobs.own(1) / "got"
    return path.read_text().split() if path.exists() else []


def test_the_ladder_reaches_what_is_in_the_group_and_spares_who_keeps_the_job(
    jobs: SharedJobs, enforcer: TimeoutEnforcer
) -> None:
    """Above job.sh is what stands for a tmux server; beside it, what stands for the writer of its log."""
    jobs.prepare(1, f"place={jobs.own(1)}; export place; setsid -f env -i sleep 1003; {TRAPS}")
    server = jobs.run(1, f"sleep 1001 & sh {jobs.state.attempt(1, 1)}/job.sh; kill $!; wait; exit 0")
    job = begun(jobs, live(1, uid=UID))
    eventually((jobs.own(1) / "here").exists)
    eventually(lambda: len(jobs.groups.pids(job.key)) >= 5)
    since = time.monotonic()
    tick(enforcer, stopping(job, since), since)
    eventually(lambda: heard(jobs) == ["INT"])
    tick(enforcer, stopping(job, since), since + 5.0)
    eventually(lambda: heard(jobs) == ["INT", "TERM"])
    assert server.poll() is None
    assert {"stop.INT", "stop.TERM"} <= set(os.listdir(jobs.state.attempt(1, 1)))
    tick(enforcer, stopping(job, since), since + 10.0)
    jobs.wait()
    assert status(jobs) == "137\n", "the script lived to record it"
    assert server.returncode == 0
    eventually(lambda: not jobs.groups.is_populated(job.key))


def test_what_forks_and_hides_without_end_is_gone_at_once(jobs: SharedJobs, enforcer: TimeoutEnforcer) -> None:
    bounded = "ulimit -u 400 || ulimit -p 400"  # of all processes of that user: the machine is needed by other tests
    # One fork of the command: a second one might find the bomb at the limit.
    bomb = "f() { setsid env -i /bin/sleep 1000 & f & f & sleep 0.2; }; f & exec sleep 1000"
    job = begun(jobs, jobs.start(1, f"{bounded}; {bomb}"))
    eventually(lambda: len(jobs.groups.pids(job.key)) > 60)
    since = time.monotonic() - 10.0
    tick(enforcer, stopping(job, since), since + 10.0)
    eventually(lambda: not jobs.groups.is_populated(job.key))
    assert status(jobs) == "137\n"


def test_a_forged_beginning_makes_no_strangers_process_a_target(jobs: SharedJobs, enforcer: TimeoutEnforcer) -> None:
    jobs.prepare(1, "true")
    stranger = subprocess.Popen(["setpriv", "--reuid", str(UID + 1), "--clear-groups", "env", "GFLOW_JOB_ID=1",
                                 "GFLOW_ATTEMPT=1", f"GFLOW_STATE_DIR={jobs.state.root}", "sleep", "1000"],
                                start_new_session=True)  # fmt: skip
    try:
        eventually(lambda: proc.name(stranger.pid) == b"sleep")
        path = jobs.own(1) / "pid"
        path.write_text(f"{proc.boot_id()} {proc.stat(stranger.pid).decode()}")
        os.chown(path, UID, UID)
        since = time.monotonic() - 20.0
        tick(enforcer, stopping(live(1, uid=UID), since), since + 20.0)
        identity = processes.read(stranger.pid)
        assert identity is not None
        forged = Started(at=1.0, mono=1.0, identity=identity.identity(proc.boot_id()))
        tick(enforcer, stopping(live(1, uid=UID, started=forged), since), since + 20.0)
        assert not attempt_processes.of(jobs.wiring).send(live(1, uid=UID), identity, (9,))
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    barred = attempt_directory.beginning(jobs.state, (1, 1), UID, jobs.groups)
    assert barred is not None
    assert (barred.identity, barred.why) == (None, reasons.TIME_LIMIT)


def test_a_suspended_job_is_frozen_whole_and_goes_on(jobs: SharedJobs, enforcer: TimeoutEnforcer) -> None:
    job = begun(jobs, jobs.start(1, "setsid -f sleep 1000; exec sleep 1000"))
    tick(enforcer, job.replace(suspended=True))
    events = Path(jobs.groups.path(job.key), "cgroup.events")
    eventually(lambda: "frozen 1" in events.read_text())
    tick(enforcer, job.replace(pauses=Pauses(count=1, seconds=1.0, last_mono=1.0)))
    eventually(lambda: "frozen 0" in events.read_text())
    assert "stop.CONT.1" in os.listdir(jobs.state.attempt(1, 1))


def test_what_it_uses_and_writes_is_counted(jobs: SharedJobs, enforcer: TimeoutEnforcer) -> None:
    out = jobs.place / "out"
    out.touch()
    os.chown(out, UID, UID)
    job = begun(jobs, jobs.start(1, f"exec >>{out}; echo hello; echo >{jobs.own(1)}/log; exec sleep 1000"))
    job = job.replace(outputs=(str(out), "/nowhere"), quiet_limit=5.0)
    found = attempt_processes.of(jobs.wiring)
    eventually(lambda: [each and each.st_size for each in found.written(job)] == [1, 6, None])
    os.unlink(jobs.own(1) / "log")
    os.symlink("/etc/passwd", jobs.own(1) / "log")
    there = found.written(job)[0]
    assert there is not None
    assert there.st_size == len("/etc/passwd"), "a link is not followed"
    turn = enforcer.tick(now(mono=time.monotonic() + 100, wall=time.time() + 100), slots_of(job))
    assert turn.detail.of_attempts[job.key].memory > 0  # type: ignore[attr-defined]
    assert turn.decision.quiet == (job.key,)  # type: ignore[attr-defined]


def test_a_log_that_outgrows_its_limit_is_cut_by_its_user(jobs: SharedJobs) -> None:
    """And no file of root's behind a hard link of theirs, whatever the kernel allows."""
    job = begun(jobs, jobs.start(1, f"head -c 2000000 /dev/zero | tr '\\0' x >{jobs.own(1)}/log; exec sleep 1000"))
    path = jobs.own(1) / "log"
    eventually(lambda: path.exists() and path.stat().st_size == 2_000_000)
    logs = LogLimiter(jobs.state, 1_000_000, attempt_processes.of(jobs.wiring).of_users)

    monos = itertools.count(time.monotonic(), 3.0)

    def cut() -> bool:
        due = logs.look({job.key}, next(monos))
        assert due is not None
        return path.stat().st_size < 2_000_000

    eventually(cut)
    assert path.stat().st_uid == UID
    cut_mark = jobs.own(1) / "log.cut"
    eventually(cut_mark.exists)  # it is written last
    assert cut_mark.stat().st_uid == UID
    roots = jobs.place / "roots"
    roots.write_bytes(b"x" * 2_000_000)
    path.unlink()
    os.link(roots, path)
    eventually(lambda: logs.look({job.key}, next(monos)) and logs._seen[job.key].troubled)
    assert roots.stat().st_size == 2_000_000
    assert logs.look(set(), next(monos)) is not None, "a last cut is waited for"
    eventually(lambda: logs.look(set(), next(monos)) is None)
