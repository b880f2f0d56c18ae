"""Suspended jobs: all processes stand still, and so does the time limit, through crashes and restarts."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from pathlib import Path

from support.machine import Machine, kill, stopped
from support.waiting import eventually

# Counts up in a file, in a child of a child, and says which signals reach it.
BUSY = textwrap.dedent("""
    import os, signal, sys, time
    def note(number, frame):
        with open("got", "a") as file:
            file.write(signal.Signals(number).name + "\\n")
        if number == signal.SIGINT:
            sys.exit(3)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCONT):
        signal.signal(number, note)
    if len(sys.argv) < 2 and os.fork():
        os.wait()
    else:
        count = 0
        while True:
            count += 1
            with open("count.new", "w") as file:
                file.write(str(count))
            os.rename("count.new", "count")
            time.sleep(0.01)
""")


def count(machine: Machine) -> int:
    path = machine.work / "count"
    return int(path.read_text()) if path.exists() else 0


def busy(machine: Machine, *options: str) -> int:
    """A running job that counts."""
    job_id = machine.submit(*options, "--", sys.executable, "-c", BUSY)
    machine.until(job_id, "running")
    eventually(lambda: count(machine) > 2)
    return job_id


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


def stands_still(machine: Machine, job_id: int) -> bool:
    """Whether every process of the job is stopped."""
    found = machine.of_job(job_id)
    return bool(found) and all(state_of(pid) == "T" for pid in found)


def suspend(machine: Machine, job_id: int, *options: str) -> None:
    machine.ctl("suspend", str(job_id), *options)
    machine.until(job_id, "suspended")
    eventually(lambda: stands_still(machine, job_id))


def go_on(machine: Machine, job_id: int) -> None:
    before = count(machine)
    machine.ctl("unsuspend", str(job_id))
    machine.until(job_id, "running")
    eventually(lambda: count(machine) > before)


def test_a_suspended_job_does_nothing_until_it_is_unsuspended(either: Machine) -> None:
    job_id = busy(either, "--grace", "60s")
    said = either.ctl("suspend", str(job_id))
    assert said.stdout == f"Suspended job {job_id}\n"
    either.until(job_id, "suspended")
    eventually(lambda: stands_still(either, job_id))
    before = count(either)
    time.sleep(0.2)
    assert count(either) == before
    assert either.ctl("queue", "-f", "ST,STATE", "--states", "S", str(job_id)).stdout.split() == [
        "ST", "STATE", "S", "suspended",
    ]  # fmt: skip
    assert "already suspended" in either.ctl("suspend", str(job_id)).stderr
    go_on(either, job_id)
    assert "is not suspended (running)" in either.ctl("unsuspend", str(job_id)).stderr
    either.cancel(job_id)
    assert set(either.lines("got")) == {"SIGCONT", "SIGINT"}


def test_what_is_forked_while_a_job_is_being_suspended_stands_still_too(either: Machine) -> None:
    job_id = either.submit("--wrap", "while :; do for i in 1 2 3; do sleep 0.01 & done; wait; echo x >>ran; done")
    either.until(job_id, "running")
    eventually(lambda: len(either.lines("ran")) > 5)
    for _ in range(3):
        suspend(either, job_id)
        before = len(either.lines("ran"))
        time.sleep(0.1)
        assert (len(either.lines("ran")), stands_still(either, job_id)) == (before, True)
        either.ctl("unsuspend", str(job_id))
        eventually(lambda before=before: len(either.lines("ran")) > before + 2)
    either.cancel(job_id)


def test_what_somebody_else_continues_is_stopped_again(either: Machine) -> None:
    job_id = busy(either)
    suspend(either, job_id)
    before, daemon = count(either), either.pids()
    with stopped(daemon["supervisor"]), stopped(daemon["timeout_enforcer"]):
        for pid in either.of_job(job_id):
            kill(pid, 18)
        eventually(lambda: count(either) > before)
    eventually(lambda: stands_still(either, job_id))
    either.cancel(job_id)


def test_the_time_limit_stands_still_with_the_job(either: Machine) -> None:
    job_id = busy(either, "--time", "1h")
    suspend(either, job_id)
    either.ctl("update", str(job_id), "--time", "2s")
    left = either.job(job_id)["time_left"]
    time.sleep(2.5)
    job = either.job(job_id)
    assert job["state"] == "suspended"
    assert job["time_left"] == left
    assert job["suspended_at"] is not None
    either.ctl("update", str(job_id), "--time", "1h")
    go_on(either, job_id)
    either.ctl("update", str(job_id), "--time", "2s")
    assert either.wait(job_id) == 124
    assert either.job(job_id)["suspended_seconds"] >= 2.5


def test_a_job_cancelled_while_suspended_hears_of_it_and_may_save_its_work(either: Machine) -> None:
    job_id = busy(either, "--grace", "60s")
    suspend(either, job_id)
    either.cancel(job_id)
    got = either.lines("got")
    assert "SIGINT" in got
    assert "SIGHUP" not in got, "a parent that ended first left a stopped child to be hung up"
    assert "SIGTERM" not in got
    assert either.job(job_id)["state"] == "cancelled"


def test_suspension_outlives_kill_nine_of_every_worker(own: Machine) -> None:
    job_id = busy(own)
    for name in ("timeout_enforcer", "scheduler", "zombie_detector", "manager"):
        pid = own.pids()[name]
        own.ctl("suspend", str(job_id))
        kill(pid)
        own.until(job_id, "suspended")
        eventually(lambda: stands_still(own, job_id))
        pid = eventually(lambda name=name, pid=pid: (found := own.pids().get(name, pid)) != pid and found)
        own.ctl("unsuspend", str(job_id))
        kill(pid)
        before = count(own)
        own.until(job_id, "running")
        eventually(lambda before=before: count(own) > before)
    own.cancel(job_id)


def test_suspension_outlives_a_restart_and_a_daemon_that_is_down(own: Machine) -> None:
    job_id = busy(own)
    suspend(own, job_id)
    own.gflowd("restart")
    time.sleep(0.2)
    assert own.job(job_id)["state"] == "suspended"
    assert stands_still(own, job_id)
    own.stop()
    own.ctl("unsuspend", str(job_id))
    assert stands_still(own, job_id)
    before = count(own)
    own.start()
    own.until(job_id, "running")
    eventually(lambda: count(own) > before)
    own.cancel(job_id)


def test_gpus_stay_held_and_cpus_too_unless_they_are_given_back(own: Machine) -> None:
    own.stop()
    own.write_config(gpu={"simulate": "1x8G"}, scheduler={"cpus": 2})
    own.start()
    job_id = busy(own, "-g", "1", "-c", "2")
    suspend(own, job_id)
    gpu, cpu = (
        own.submit("-g", "1", "-c", "0", "true"),
        own.submit("-c", "2", "--wrap", "until [ -e gate ]; do sleep 0.05; done"),
    )
    eventually(lambda: own.job(cpu)["reason"] == "Resources" and own.job(gpu)["reason"] == "Resources")
    own.ctl("suspend", "--release-cpus", str(job_id))
    own.until(cpu, "running")
    assert own.job(gpu)["state"] == "queued"
    own.ctl("unsuspend", str(job_id))
    eventually(lambda: own.job(job_id)["reason"] == "Resources")
    later = own.submit("-c", "1", "true")
    assert own.job(job_id)["state"] == "suspended"
    assert stands_still(own, job_id)
    own.open_gate()
    own.until(job_id, "running")
    assert own.job(later)["state"] == "queued", "the job that goes on comes first"
    own.cancel(job_id)
    assert own.wait(gpu, cpu, later) == 0


def test_a_suspended_job_whose_command_is_killed_has_ended(either: Machine) -> None:
    job_id = either.submit("--", "sleep", "1000")
    either.until(job_id, "running")
    eventually(lambda: any(words.startswith("sleep") for words in either.of_job(job_id).values()))
    suspend(either, job_id)
    (pid,) = [pid for pid, words in either.of_job(job_id).items() if words.startswith("sleep")]
    os.kill(pid, 9)
    assert either.wait(job_id) == 137


def test_only_what_runs_can_be_suspended(either: Machine) -> None:
    job_id = either.submit("--hold", "true")
    assert either.refused(1, "suspend", str(job_id)) == f"job {job_id} is held; only running jobs can be suspended"
    either.cancel(job_id)
    assert "cancelled" in either.refused(1, "suspend", str(job_id))


def test_a_requeued_job_is_suspended_no_more(either: Machine) -> None:
    job_id = busy(either, "--grace", "1s")
    suspend(either, job_id)
    either.ctl("requeue", str(job_id))
    eventually(lambda: either.job(job_id)["attempt"] == 2)
    either.until(job_id, "running")
    either.cancel(job_id)
