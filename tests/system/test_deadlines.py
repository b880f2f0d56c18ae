"""Deadlines: a queued job is given up, on time, when it can no longer end by then; sbatch's option means the same."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from support.machine import GATE, Machine


def at(seconds: float) -> str:
    """An instant so many seconds from now, as an option has it."""
    return datetime.fromtimestamp(time.time() + seconds, UTC).isoformat(timespec="seconds")


def cancelled_at(machine: Machine, job_id: int) -> float:
    job = machine.until(job_id, "cancelled")
    assert job["reason"] == "Deadline"
    return datetime.fromisoformat(job["ended_at"]).timestamp()


def test_a_queued_job_is_cancelled_when_it_can_no_longer_end_in_time(either: Machine) -> None:
    busy = either.submit("-c", "8", "--wrap", GATE)
    either.until(busy, "running")
    deadline = time.time() + 63
    job_id = either.submit("-c", "8", "--time", "1m", "--deadline", at(63), "true")
    waits = either.submit("--depends-on", str(job_id), "true")
    held = either.submit("--hold", "--deadline", at(2), "true")
    assert either.job(job_id)["deadline"] is not None
    assert "Deadline" in either.ctl("show", str(job_id)).stdout
    latest = deadline - 60
    assert latest - 1 <= cancelled_at(either, job_id) <= latest + 3
    assert either.until(waits, "cancelled")["reason"] == f"DependencyFailed:{job_id}"
    cancelled_at(either, held)
    either.open_gate()
    assert either.wait(busy) == 0


def test_a_job_that_starts_in_time_is_left_alone(either: Machine) -> None:
    job_id = either.submit("--deadline", at(1), "--wrap", "sleep 3")
    assert either.wait(job_id) == 0


def test_one_that_begins_in_time_is_started_and_a_retry_that_cannot_be_in_time_is_not(either: Machine) -> None:
    job_id = either.submit("--begin", at(2), "--time", "1m", "--deadline", at(62), "--wrap", "echo x >>ran; exit 1",
                           "--max-retries", "3", "--retry-delay", "1m")  # fmt: skip
    assert cancelled_at(either, job_id)
    assert either.lines("ran") == ["x"]


def test_a_deadline_that_passes_while_the_daemon_is_down_is_kept_when_it_returns(own: Machine) -> None:
    job_id = own.submit("--hold", "--deadline", at(1), "true")
    own.stop()
    time.sleep(2.2)
    own.start()
    cancelled_at(own, job_id)


def test_impossible_deadlines_are_refused(either: Machine) -> None:
    def refusal(*words: str) -> str:
        return either.refused(1, "submit", *words, "true")

    assert refusal("--deadline", "2001-01-01") == "the deadline has passed"
    assert refusal("--deadline", at(3600), "--time", "2h").endswith("but the time limit is 2:00:00")
    assert refusal("--deadline", at(60), "--begin", at(120)) == "the deadline is before the begin time"
    assert "after it begins" in refusal("--deadline", at(7200), "--begin", at(3600), "--time", "2h")
    job_id = either.submit("--hold", "--deadline", at(7200), "--time", "1h", "true")
    assert "the time limit is 3:00:00" in either.refused(1, "update", str(job_id), "--time", "3h")
    either.ctl("update", str(job_id), "--clear", "deadline", "--time", "3h")
    assert either.job(job_id)["deadline"] is None
    either.ctl("update", str(job_id), "--deadline", "now+4h")
    assert either.job(job_id)["deadline"] is not None
    either.cancel(job_id)


def test_the_head_of_a_script_for_slurm_may_have_one(either: Machine) -> None:
    script = either.work / "job.sh"
    script.write_text("#!/bin/sh\n#SBATCH --deadline=now+2\n#SBATCH --time=0\nsleep 3\n")
    job_id = either.submit("--hold", str(script))
    cancelled_at(either, job_id)


def test_it_is_given_up_on_time_with_a_long_queue_behind(own_default: Machine) -> None:
    own_default.ctl("drain")
    ids = [own_default.submit("--deadline", at(2), "true") for _ in range(3)]
    expected = [datetime.fromisoformat(own_default.job(each)["deadline"]).timestamp() for each in ids]
    for job_id, deadline in zip(ids, expected, strict=True):
        assert 0.9 <= cancelled_at(own_default, job_id) - deadline <= 2.0
