from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from gflowd.core.job.model import PROCESS, Run, Running, Started
from gflowd.effects import proc
from gflowd.effects.kernel import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.ctl import Ctl

COMMAND = """
import os, signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: (os.write(1, b"usr1\\n"), sys.exit(0)))
os.write(1, b"ready\\n")  # not print, which a handler may interrupt amid its work
time.sleep(60)
"""


@pytest.fixture
def running(ctl: Ctl) -> Iterator[tuple[Ctl, subprocess.Popen[str]]]:
    """1 queued; 2 a running job: a shell that would die of the signal, and its child that says what it got."""
    ctl.submit("true")
    ctl.submit("true")
    script = '"$1" -c "$2"; sleep 60'
    env = ctl.env | {"GFLOW_JOB_ID": "2", "GFLOW_ATTEMPT": "1"}
    leader = subprocess.Popen(
        ["sh", "-c", script, "sh", sys.executable, COMMAND],
        env=env, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert leader.stdout
    assert leader.stdout.readline() == "ready\n"
    process = processes.read(leader.pid)
    assert process is not None
    started = Started(at=time.time(), mono=time.monotonic(), identity=process.identity(proc.boot_id()))
    ctl.set_phase(2, Running(run=Run(executor=PROCESS, launched_at=time.time()), started=started))
    yield ctl, leader
    job = {(2, 1): (started.identity, processes.job_mark(ctl.state.root, 2, 1))}
    while left := processes.members(job, 0)[2, 1]:  # the shell may go on to its next command meanwhile
        for member in left:
            processes.send(member, (9,))  # type: ignore[arg-type]
        leader.poll()
    leader.wait()
    leader.stdout.close()


def test_a_signal_reaches_the_command_and_spares_its_shell(running: tuple[Ctl, subprocess.Popen[str]]) -> None:
    ctl, leader = running
    assert ctl.ok("cancel", "2", "--signal", "usr1", "--dry-run") == "Would send SIGUSR1 to job 2\n"
    assert ctl.ok("cancel", "--all", "--signal", "USR1") == "Sent SIGUSR1 to job 2\n"
    assert leader.stdout
    assert leader.stdout.readline() == "usr1\n"
    assert leader.poll() is None
    assert ctl.store.read().of("wish") == {}
    assert ctl.jobs("2")[0]["state"] == "running"


def test_only_what_runs_can_be_signalled(running: tuple[Ctl, subprocess.Popen[str]]) -> None:
    ctl, _ = running
    assert "job 1 is queued" in ctl.fails(1, "cancel", "1,2", "--signal", "USR1")
    assert "'SIGODD' is not a signal" in ctl.fails(2, "cancel", "2", "--signal", "SIGODD")
    ctl.submit("true")
    ctl.end_job(3)
    assert ctl.run("cancel", "3", "--signal", "10").stderr == "gflowctl: job 3 has already ended (finished)\n"


def test_a_job_without_processes_says_so(ctl: Ctl) -> None:
    ctl.submit("true")
    ctl.run_job(1)
    assert ctl.run("cancel", "1", "--signal", "TERM").stderr == "gflowctl: job 1 has no process to signal\n"
