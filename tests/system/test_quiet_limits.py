"""Jobs that write nothing for too long: warned, then ended; output of any kind keeps them going."""

from __future__ import annotations

from support.machine import Machine
from support.waiting import eventually


def test_a_job_without_output_is_warned_then_ended_and_retried(either: Machine) -> None:
    words = ("--quiet-limit", "1h", "--grace", "2s", "--max-retries", "1", "--wrap", "echo begun; sleep 1000")
    job_id = either.submit(*words)
    either.until(job_id, "running")
    either.ctl("update", str(job_id), "--quiet-limit", "1s")
    eventually(lambda: either.job(job_id)["reason"] == "NoOutput")
    assert either.job(job_id)["state"] == "running"
    assert "(NoOutput)" in either.ctl("queue", str(job_id)).stdout
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
