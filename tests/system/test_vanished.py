"""Jobs whose processes, sessions or whole tmux server go away under them, and a machine that was rebooted."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import depth
from support.machine import GATE, TMUX, Machine, end, kill
from support.waiting import eventually

from gflowd.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_tmux = pytest.mark.skipif(TMUX is None, reason="tmux is not installed")


def test_a_job_killed_whole_is_a_zombie(own: Machine) -> None:
    job_id = own.submit("--wrap", "sleep 1000")
    job = own.until(job_id, "running")
    eventually(lambda: own.of_job(job_id))
    pids = own.of_job(job_id)
    kill(job["pid"])  # first, so that it records nothing
    end(*pids)
    job = own.ended(job_id)
    assert (job["state"], job["reason"], job["exit_code"]) == ("failed", "Zombie", None)
    assert own.wait(job_id) == 1
    assert own.result("echo", "next") == "next\n"


def test_while_a_child_of_a_killed_job_lives_the_job_runs_on(own: Machine) -> None:
    own.gflowd("restart", "--simulate-gpus", "1")
    job_id = own.submit("-g", "1", "--wrap", f"trap '' HUP; {GATE}")
    job = own.until(job_id, "running")
    eventually(lambda: own.of_job(job_id))
    kill(job["pid"])
    waiting = own.submit("-g", "1", "true")
    own.wait(own.submit("true"))
    if own.config["executor"]["type"] == "process":
        assert own.job(job_id)["state"] == "running"
        assert own.job(waiting)["state"] == "queued"
    own.open_gate()
    job = own.ended(job_id)
    assert (job["state"], job["reason"]) == ("failed", "Zombie")
    assert own.wait(waiting) == 0


def test_what_is_left_of_a_killed_job_can_be_cancelled(own: Machine) -> None:
    job_id = own.submit("--grace", "1s", "--wrap", "trap '' HUP; setsid sleep 1000 & sleep 1000")
    job = own.until(job_id, "running")
    eventually(lambda: len(own.of_job(job_id)) >= 2)
    kill(job["pid"])
    own.cancel(job_id)
    assert own.of_job(job_id) == {}
    assert own.job(job_id)["state"] == "cancelled"


@pytest.fixture
def in_tmux(machine: Machine) -> Machine:
    machine.write_config(executor={"type": "tmux"})
    machine.start()
    return machine


def server_pid(machine: Machine) -> int:
    return int(machine.tmux("display-message", "-p", "#{pid}"))


@needs_tmux
def test_a_killed_tmux_server_fails_its_jobs_and_a_new_one_is_started(in_tmux: Machine) -> None:
    """The kernel tells only the session's leader; what lives on is tracked, and can be cancelled."""
    text = "until ! kill -0 %d 2>/dev/null; do sleep 0.05; done; echo to a terminal that is gone || exit 3; sleep 1000"
    in_tmux.wait(in_tmux.submit("true"))
    pid = server_pid(in_tmux)
    ids = [in_tmux.submit("--wrap", text % pid) for _ in range(3)]
    silent = in_tmux.submit("sleep", "1000")
    in_tmux.until_in([*ids, silent], "running")
    kill(pid)
    for job_id in ids:
        in_tmux.wait(job_id)
        job = in_tmux.job(job_id)
        assert job["state"] == "failed"
        assert in_tmux.of_job(job_id) == {}
    assert in_tmux.result("echo", "next") == "next\n"
    job = in_tmux.job(silent)
    assert (job["state"] == "running") == bool(in_tmux.of_job(silent))
    in_tmux.cancel(silent)
    assert in_tmux.of_job(silent) == {}


@needs_tmux
def test_a_tmux_server_killed_under_many_jobs_costs_none_its_true_end(in_tmux: Machine) -> None:
    """Every other one does not care for its terminal."""
    pids, count = in_tmux.pids(), depth.number(50, 16)
    deaf = "[ $((GFLOW_ARRAY_TASK_ID % 2)) = 0 ] || { trap '' HUP; exec >/dev/null 2>&1 </dev/null; }"
    text = f"{deaf}; echo $GFLOW_JOB_ID >>ran; {GATE}; echo ended || exit 9; exit 4"
    first = int(
        in_tmux.ctl("submit", "--parsable", "-c", "0", "-a", f"1-{count}", "--wrap", text).stdout.partition("-")[0]
    )
    ids = list(range(first, first + count))
    in_tmux.until_in(ids, "running")
    eventually(lambda: len(in_tmux.lines("ran")) == count)
    kill(server_pid(in_tmux))
    assert in_tmux.result("echo", "next") == "next\n"
    for job_id in ids[::2]:
        assert in_tmux.job(job_id)["state"] == "running"
    in_tmux.open_gate()
    in_tmux.wait(*ids)
    jobs = in_tmux.jobs()
    assert {jobs[job_id]["exit_code"] for job_id in ids[::2]} == {4}
    assert {jobs[job_id]["state"] for job_id in ids[1::2]} == {"failed"}
    assert 4 not in {jobs[job_id]["exit_code"] for job_id in ids[1::2]}
    in_tmux.ran_exactly_once(ids)
    assert in_tmux.pids() == pids


@needs_tmux
def test_a_job_that_outlives_the_tmux_server_is_still_running(in_tmux: Machine) -> None:
    text = f"trap '' HUP; exec >/dev/null 2>&1 </dev/null; touch deaf; {GATE}; exit 4"
    job_id = in_tmux.submit("--wrap", text)
    in_tmux.until(job_id, "running")
    eventually((in_tmux.work / "deaf").exists)
    kill(server_pid(in_tmux))
    other = in_tmux.submit("true")
    assert in_tmux.wait(other) == 0
    assert in_tmux.job(job_id)["state"] == "running"
    in_tmux.open_gate()
    assert in_tmux.wait(job_id) == 4


@needs_tmux
def test_a_session_killed_by_the_user_concerns_its_job_alone(in_tmux: Machine) -> None:
    ids = [in_tmux.submit("-c", "0", "--wrap", GATE) for _ in range(12)]
    in_tmux.until_in(ids, "running")
    in_tmux.tmux("kill-session", "-t", f"={in_tmux.job(ids[0])['session']}:")
    in_tmux.wait(in_tmux.submit("true"))
    job = in_tmux.job(ids[0])
    assert (job["state"] == "running") == bool(in_tmux.of_job(ids[0]))
    assert {in_tmux.job(i)["state"] for i in ids[1:]} == {"running"}
    assert in_tmux.of_job(ids[1])
    in_tmux.open_gate()
    assert in_tmux.wait(*ids[1:]) == 0
    assert in_tmux.ended(ids[0])["reason"] in (None, "Zombie", "Signaled:SIGHUP")


@needs_tmux
def test_a_renamed_session_ends_as_its_job_does(in_tmux: Machine) -> None:
    job_id = in_tmux.submit("--wrap", f"echo one; {GATE}; echo two; exit 5")
    in_tmux.until(job_id, "running")
    in_tmux.tmux("rename-session", "-t", f"=gflow-{job_id}:", "mine")
    in_tmux.open_gate()
    assert in_tmux.wait(job_id) == 5
    assert in_tmux.log(job_id) == b"one\ntwo\n"


@needs_tmux
def test_users_own_tmux_server_is_left_alone(in_tmux: Machine) -> None:
    own = {**in_tmux.env, "TMUX_TMPDIR": str(in_tmux.home)}
    in_tmux.run("tmux", "-f", "/dev/null", "new-session", "-d", "-s", "gflow-1", "sleep 1000", env=own)
    assert in_tmux.result("echo", "mine") == "mine\n"
    assert in_tmux.run("tmux", "list-sessions", env=own).stdout.startswith("gflow-1:")
    in_tmux.run("tmux", "kill-server", env=own)


@needs_tmux
def test_a_stopped_tmux_server_does_not_stop_the_daemon(in_tmux: Machine) -> None:
    """Launches into it fail with a reason, jobs elsewhere run, and all is well again when it goes on."""
    running = in_tmux.submit("--wrap", f"{GATE}; exit 3")
    in_tmux.until(running, "running")
    pid = server_pid(in_tmux)
    kill(pid, signal.SIGSTOP)
    try:
        stuck = in_tmux.submit("true")
        plain = in_tmux.submit("--executor", "process", "true")
        assert in_tmux.wait(plain) == 0
        assert in_tmux.ended(stuck)["reason"].startswith("LaunchFailed:tmux did not answer")
    finally:
        kill(pid, signal.SIGCONT)
    in_tmux.open_gate()
    assert in_tmux.wait(running) == 3
    assert in_tmux.result("echo", "well") == "well\n"


@needs_tmux
def test_a_tmux_that_is_slow_once_costs_no_job(machine: Machine) -> None:
    """As on a machine that is busy without end."""
    wrapper = machine.bin / "tmux"
    slow = f'case "$*" in *source-file*) mkdir {machine.root}/slow 2>/dev/null && exec sleep 1000 ;; esac'
    wrapper.write_text(f'#!/bin/sh\n{slow}\nexec {TMUX} "$@"\n')
    wrapper.chmod(0o700)
    machine.write_config(executor={"type": "tmux"})
    machine.start()
    job_id = machine.submit("--wrap", "exit 3")
    assert machine.wait(job_id) == 3
    assert machine.job(job_id)["reason"] == "NonZeroExit"
    assert (machine.root / "slow").exists()


def test_after_a_reboot_running_jobs_are_zombies_and_nothing_is_signalled(own: Machine) -> None:
    """Nothing lives of the job, and what it wrote tells of another boot, in which a stranger's pid was its own."""
    job_id = own.submit("-t", "1h", "sleep", "1000")
    other = own.submit("sleep", "1000")
    held = own.submit("--hold", "true")
    own.until_in([job_id, other], "running")
    eventually(lambda: own.of_job(job_id) and own.of_job(other))
    own.stop()
    pids = [own.job(i)["pid"] for i in (job_id, other)]
    end(*pids, *own.of_job(job_id), *own.of_job(other))  # the shells first: they would record an end
    with stranger() as unknown:
        rewrite(own, job_id, boot="11111111-2222-3333-4444-555555555555", like=unknown.pid)
        rewrite(own, other, boot="11111111-2222-3333-4444-555555555555", like=unknown.pid)
        own.ctl("cancel", str(other))
        own.start()
        job = own.ended(job_id)
        assert (job["state"], job["reason"]) == ("failed", "Zombie")
        own.wait(other)
        assert own.job(held)["state"] == "held"
        assert own.result("echo", "next") == "next\n"
        assert unknown.poll() is None


def test_a_stranger_on_the_jobs_pid_is_never_signalled(own: Machine) -> None:
    """The number went to another process while the daemon was away."""
    job_id = own.submit("--grace", "1s", "sleep", "1000")
    job = own.until(job_id, "running")
    eventually(lambda: own.of_job(job_id))
    own.stop()
    end(job["pid"], *own.of_job(job_id))
    with stranger() as unknown:
        rewrite(own, job_id, pid=unknown.pid)
        own.ctl("cancel", str(job_id))
        own.start()
        own.wait(job_id)
        assert unknown.poll() is None


@contextmanager
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with any job."""
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()


def rewrite(machine: Machine, job_id: int, *, boot: str = "", pid: int = 0, like: int = 0) -> None:
    """Gives the job another identity: another boot, another process's number, or a process's number and start."""
    stat = Path(f"/proc/{like or 'self'}/stat").read_text()
    store = Store(machine.state)
    with store.commit() as commit:
        phase = store.read().of("phase")[job_id]
        identity = phase["started"]["identity"]
        identity["boot"] = boot or identity["boot"]
        identity["pid"] = like or pid
        if like:
            identity["start"] = int(stat.rpartition(")")[2].split()[19])
        commit.put("phase", job_id, phase)
    path = machine.attempt(job_id) / "pid"
    was_boot, _, was_stat = path.read_text().partition(" ")
    number, _, rest = was_stat.partition(" ")
    assert int(number)
    path.write_text(f"{boot or was_boot} {stat if like else f'{pid} {rest}'}")


def test_a_job_directory_removed_while_it_runs_hurts_that_job_alone(own: Machine) -> None:
    job_id = own.submit("--wrap", GATE)
    other = own.submit("--wrap", f"{GATE}; exit 3")
    own.until_in([job_id, other], "running")
    own.run("rm", "-rf", str(own.attempt(job_id)))
    own.open_gate()
    assert own.wait(other) == 3
    assert own.ended(job_id)["state"] in ("failed", "finished")
    assert own.result("echo", "next") == "next\n"
    assert os.path.isdir(own.state.root)
