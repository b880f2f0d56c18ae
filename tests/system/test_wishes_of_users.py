"""Hold, release, top, update, drain and resume with the real daemon."""

from __future__ import annotations

from support.machine import GATE, Machine
from support.waiting import eventually


def test_top_is_first(up: Machine) -> None:
    blocker = up.submit("-c", "8", "--wrap", GATE)
    up.until(blocker, "running")
    ids = [up.submit("-c", "8", "--wrap", "echo $GFLOW_JOB_ID >>ran") for _ in range(3)]
    up.ctl("top", str(ids[2]))
    up.open_gate()
    assert up.wait(*ids) == 0
    assert up.lines("ran") == [str(ids[place]) for place in (2, 0, 1)]


def test_the_time_limit_of_a_running_job_is_changed(either: Machine) -> None:
    longer = either.submit("-t", "1h", "--wrap", GATE)
    shorter = either.submit("-t", "1h", "--grace", "1s", "sleep", "100")
    either.until(longer, "running")
    either.until(shorter, "running")
    either.ctl("update", str(shorter), "-t", "1s")
    assert either.wait(shorter) == 124
    either.ctl("update", str(longer), "-t", "0")
    assert either.job(longer)["time_limit"] is None
    either.open_gate()
    assert either.wait(longer) == 0


def test_a_queued_job_is_changed_before_it_runs(up: Machine) -> None:
    job_id = up.submit("--hold", "false")
    up.ctl("update", str(job_id), "--command", "sh -c 'echo $GFLOW_JOB_NAME $GFLOW_JOB_CPUS'", "-n", "new", "-c", "2")
    up.ctl("release", str(job_id))
    assert up.wait(job_id) == 0
    assert up.log(job_id) == b"new 2\n"


def test_a_queued_job_is_edited_before_it_runs(up: Machine) -> None:
    job_id = up.submit("--hold", "-c", "1", "false")
    edit = "sed -i 's/^cpus = 1/cpus = 2/; s/^command = false/command = printenv GFLOW_JOB_CPUS/'"
    up.ctl("edit", str(job_id), env={**up.env, "EDITOR": edit})
    up.ctl("release", str(job_id))
    assert up.wait(job_id) == 0
    assert up.log(job_id) == b"2\n"


def test_hold_keeps_a_job_from_starting_until_a_time(up: Machine) -> None:
    blocker = up.submit("-c", "8", "--wrap", GATE)
    up.until(blocker, "running")
    held, timed = up.submit("true"), up.submit("true")
    up.ctl("hold", f"{held},{timed}")
    up.ctl("release", "--at", "now+1h", str(timed))
    up.open_gate()
    assert up.wait(up.submit("true")) == 0
    assert [up.job(job_id)["reason"] for job_id in (held, timed)] == ["JobHeldUser", "BeginTime"]
    up.ctl("update", str(timed), "--clear", "begin")
    up.ctl("release", str(held))
    assert up.wait(held, timed) == 0


def test_a_drained_machine_starts_nothing_new(own_default: Machine) -> None:
    machine = own_default
    running = machine.submit("--wrap", GATE)
    machine.until(running, "running")
    machine.ctl("drain", "--reason", "new disks")
    waits = machine.submit("true")
    eventually(lambda: machine.job(waits)["reason"] == "Drained")
    machine.open_gate()
    assert machine.wait(running) == 0
    machine.gflowd("restart")
    eventually(lambda: machine.job(waits)["reason"] == "Drained")
    machine.ctl("resume")
    assert machine.wait(waits) == 0
