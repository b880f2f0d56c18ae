"""Jobs that write nothing for too long: warned, then ended; output of any kind keeps them going."""

from __future__ import annotations

from support.machine import Machine
from support.waiting import eventually


def begun(machine: Machine, grace: str, *options: str) -> int:
    """A job that has written its only line, and may write nothing for an hour."""
    job_id = machine.submit("--quiet-limit", "1h", "--grace", grace, *options, "--wrap", "echo begun; sleep 1000")
    await_line(machine, job_id)
    return job_id


def await_line(machine: Machine, job_id: int) -> None:
    machine.until(job_id, "running")
    eventually(lambda: machine.log(job_id))


def limit(machine: Machine, job_id: int, quiet: str) -> None:
    machine.ctl("update", str(job_id), "--quiet-limit", quiet)


def test_a_job_without_output_is_warned_then_ended_and_retried(either: Machine) -> None:
    warned = begun(either, "1h")
    limit(either, warned, "1s")
    eventually(lambda: either.job(warned)["reason"] == "NoOutput")
    assert either.job(warned)["state"] == "running"
    assert "(NoOutput)" in either.ctl("queue", str(warned)).stdout
    either.cancel(warned)
    job_id = begun(either, "2s", "--max-retries", "1")
    either.ctl("drain")
    try:
        limit(either, job_id, "1s")
        eventually(lambda: either.job(job_id)["attempt"] == 2)
        limit(either, job_id, "1h")
    finally:
        either.ctl("resume")
    await_line(either, job_id)
    limit(either, job_id, "1s")
    assert either.wait(job_id) == 130
    job = either.job(job_id)
    assert (job["state"], job["reason"], job["attempt"], job["quiet_limit"]) == ("failed", "NoOutput", 2, 1.0)
    assert "(it wrote no output for " in either.ctl("show", str(job_id)).stdout
    assert either.log(job_id) == b"begun\n"


def test_one_that_writes_again_in_time_is_warned_no_more_wherever_it_writes(either: Machine) -> None:
    text = "until [ -e gate ]; do [ -e speak ] && echo x && echo x >&2; sleep 0.1; done"
    words = ("--quiet-limit", "1s", "--grace", "600s", "--wrap", text)
    ids = [either.submit(*place, *words) for place in ((), ("-oout",), ("-eerror",))]
    eventually(lambda: all(either.job(each)["reason"] == "NoOutput" for each in ids))
    (either.work / "speak").touch()
    eventually(lambda: all(either.job(each)["reason"] is None for each in ids))
    either.open_gate()
    assert either.wait(*ids) == 0
