"""Deadlines: a queued job is given up when it can no longer end by then; sbatch's option means the same."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from support.machine import GATE, Machine
from support.waiting import eventually


def at(seconds: float) -> str:
    """An instant so many seconds from now, as an option has it."""
    return datetime.fromtimestamp(time.time() + seconds, UTC).isoformat(timespec="seconds")


def cancelled_at(machine: Machine, job_id: int) -> float:
    job = machine.until(job_id, "cancelled")
    assert job["reason"] == "Deadline"
    return datetime.fromisoformat(job["ended_at"]).timestamp()


def test_a_queued_job_is_cancelled_when_it_can_no_longer_end_in_time(up: Machine) -> None:
    busy = up.submit("-c", "8", "--wrap", GATE)
    up.until(busy, "running")
    latest = time.time() + 2
    job_id = up.submit("-c", "8", "--time", "1m", "--deadline", "now+62s", "true")
    waits = up.submit("--depends-on", str(job_id), "true")
    held = up.submit("--hold", "--deadline", "now+2s", "true")
    assert up.job(job_id)["deadline"] is not None
    assert cancelled_at(up, job_id) >= latest - 1
    shown = up.ctl("show", str(job_id)).stdout
    assert "Deadline:" in shown
    assert "with its time limit of " in shown
    assert up.until(waits, "cancelled")["reason"] == f"DependencyFailed:{job_id}"
    cancelled_at(up, held)
    up.open_gate()
    assert up.wait(busy) == 0


def test_a_deadline_that_passes_while_the_daemon_is_down_is_kept_when_it_returns(own_default: Machine) -> None:
    job_id = own_default.submit("--hold", "--deadline", "now+3s", "true")
    over = time.time() + 3.1
    own_default.stop()
    eventually(lambda: time.time() > over)
    own_default.start()
    cancelled_at(own_default, job_id)


def test_impossible_deadlines_are_refused(up: Machine) -> None:
    def refusal(*words: str) -> str:
        return up.refused(1, "submit", *words, "true")

    assert refusal("--deadline", "2001-01-01") == "the deadline has passed"
    assert refusal("--deadline", at(3600), "--time", "2h").endswith("but the time limit is 2:00:00")
    assert refusal("--deadline", at(60), "--begin", at(120)) == "the deadline is before the begin time"
    assert "after it begins" in refusal("--deadline", at(7200), "--begin", at(3600), "--time", "2h")
    job_id = up.submit("--hold", "--deadline", at(7200), "--time", "1h", "true")
    assert "the time limit is 3:00:00" in up.refused(1, "update", str(job_id), "--time", "3h")
    up.ctl("update", str(job_id), "--clear", "deadline", "--time", "3h")
    assert up.job(job_id)["deadline"] is None
    up.ctl("update", str(job_id), "--deadline", "now+4h")
    assert up.job(job_id)["deadline"] is not None
    up.cancel(job_id)


def test_the_head_of_a_script_for_slurm_may_have_one(up: Machine) -> None:
    script = up.work / "job.sh"
    script.write_text("#!/bin/sh\n#SBATCH --deadline=now+2\n#SBATCH --time=0\nsleep 3\n")
    job_id = up.submit("--hold", str(script))
    cancelled_at(up, job_id)
