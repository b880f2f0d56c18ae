"""Jobs that write nothing for too long: warned, then ended; output of any kind keeps them going."""

from __future__ import annotations

import time

from support.machine import Machine
from support.waiting import eventually


def test_a_job_without_output_is_warned_and_then_ended(either: Machine) -> None:
    job_id = either.submit("--quiet-limit", "2s", "--grace", "3s", "--wrap", "echo begun; sleep 1000")
    eventually(lambda: either.job(job_id)["reason"] == "NoOutput")
    assert either.job(job_id)["state"] == "running"
    assert "(NoOutput)" in either.ctl("queue", str(job_id)).stdout
    assert either.wait(job_id) == 130
    job = either.job(job_id)
    assert (job["state"], job["reason"], job["quiet_limit"]) == ("failed", "NoOutput", 2.0)
    assert either.log(job_id) == b"begun\n"


def test_a_job_that_writes_is_left_alone_wherever_it_writes(either: Machine) -> None:
    loop = "for i in 1 2 3 4 5 6 7 8; do echo $i{}; sleep 0.5; done"
    to_log = either.submit("--quiet-limit", "2s", "--grace", "1s", "--wrap", loop.format(""))
    to_file = either.submit("--quiet-limit", "2s", "--grace", "1s", "-o", "out.%j", "--wrap", loop.format(""))
    to_error = either.submit("--quiet-limit", "2s", "--grace", "1s", "-e", "err", "--wrap", loop.format(" >&2"))
    assert either.wait(to_log, to_file, to_error) == 0


def test_one_that_writes_again_in_time_is_warned_no_more(either: Machine) -> None:
    text = "sleep 3; echo here; until [ -e gate ]; do sleep 0.2; echo x; done"
    job_id = either.submit("--quiet-limit", "2s", "--grace", "60s", "--wrap", text)
    eventually(lambda: either.job(job_id)["reason"] == "NoOutput")
    eventually(lambda: either.job(job_id)["reason"] is None)
    either.open_gate()
    assert either.wait(job_id) == 0


def test_time_that_it_is_suspended_does_not_count(either: Machine) -> None:
    job_id = either.submit("--quiet-limit", "2s", "--grace", "1s", "--wrap", "echo begun; sleep 1000")
    either.until(job_id, "running")
    either.ctl("suspend", str(job_id))
    either.until(job_id, "suspended")
    time.sleep(4)
    assert either.job(job_id)["state"] == "suspended"
    either.ctl("unsuspend", str(job_id))
    either.until(job_id, "failed")
    assert either.job(job_id)["reason"] == "NoOutput"


def test_a_new_enforcer_knows_when_a_job_wrote_last(own: Machine) -> None:
    job_id = own.submit("--quiet-limit", "4s", "--grace", "1s", "--wrap", "echo begun; sleep 1000")
    own.until(job_id, "running")
    began = time.monotonic()
    for _ in range(3):
        time.sleep(1)
        own.gflowd("restart")
    own.until(job_id, "failed")
    assert time.monotonic() - began < 30
    assert own.job(job_id)["reason"] == "NoOutput"


def test_the_limit_can_be_changed_while_the_job_runs_and_a_hang_is_retried(either: Machine) -> None:
    job_id = either.submit("--quiet-limit", "1h", "--grace", "1s", "--max-retries", "1", "--wrap", "sleep 1000")
    either.until(job_id, "running")
    either.ctl("update", str(job_id), "--quiet-limit", "1s")
    either.until(job_id, "failed")
    assert either.job(job_id)["attempt"] == 2
