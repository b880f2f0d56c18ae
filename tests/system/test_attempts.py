"""Retries, requeue and redo with the real daemon."""

from __future__ import annotations

import json

from support.machine import GATE, Machine
from support.waiting import eventually


def test_a_job_is_tried_again_and_each_attempt_is_kept(either: Machine) -> None:
    text = "echo attempt $GFLOW_ATTEMPT; exit $((3 - GFLOW_ATTEMPT))"
    job_id = either.submit("--max-retries", "3", "--retry-delay", "0s", "--wrap", text)
    after = either.submit("-d", str(job_id), "true")
    assert either.wait(job_id, after) == 0
    job = either.job(job_id)
    assert (job["attempt"], job["state"], job["max_retries"]) == (3, "finished", 3)
    for number in (1, 2, 3):
        said = either.ctl("log", str(job_id), "--attempt", str(number)).stdout
        assert said == f"attempt {number}\n"
    assert either.log(job_id) == b"attempt 3\n"
    (shown,) = json.loads(either.ctl("show", "--json", str(job_id)).stdout)
    assert [(each["attempt"], each["exit_code"], each["state"]) for each in shown["attempts"]] == [
        (1, 2, "failed"),
        (2, 1, "failed"),
    ]
    assert "no attempt 4" in either.refused(1, "log", str(job_id), "--attempt", "4")


def test_only_what_was_asked_for_is_tried_again(up: Machine) -> None:
    codes = up.submit("--max-retries", "5", "--retry-on", "7", "--wrap", "exit $((8 - GFLOW_ATTEMPT))")
    assert up.wait(codes) == 6
    assert up.job(codes)["attempt"] == 2
    limited = up.submit("--max-retries", "1", "-t", "1s", "--grace", "1s", "sleep", "100")
    assert up.wait(limited) == 124
    assert up.job(limited)["attempt"] == 1


def test_a_retry_waits_for_its_delay(up: Machine) -> None:
    job_id = up.submit("--max-retries", "1", "--retry-delay", "1h", "false")
    eventually(lambda: up.job(job_id)["reason"] == "RetryDelay")
    job = up.job(job_id)
    assert (job["state"], job["attempt"]) == ("queued", 2)
    up.cancel(job_id)


def test_retries_can_be_given_to_a_job_that_waits(up: Machine) -> None:
    job_id = up.submit("--hold", "--wrap", "exit $((2 - GFLOW_ATTEMPT))")
    up.ctl("update", str(job_id), "--max-retries", "2")
    up.ctl("release", str(job_id))
    assert up.wait(job_id) == 0
    assert up.job(job_id)["attempt"] == 2


def test_a_running_job_is_requeued(either: Machine) -> None:
    job_id = either.submit("--wrap", f"echo run $GFLOW_ATTEMPT; [ $GFLOW_ATTEMPT = 2 ] || {GATE}")
    after = either.submit("-d", str(job_id), "true")
    either.until(job_id, "running")
    eventually(lambda: either.log(job_id))
    either.ctl("requeue", str(job_id))
    assert either.wait(job_id, after) == 0
    assert either.job(job_id)["attempt"] == 2
    assert either.ctl("log", str(job_id), "--attempt", "1").stdout == "run 1\n"
    assert either.log(job_id) == b"run 2\n"


def test_a_job_that_has_ended_is_requeued(up: Machine) -> None:
    job_id = up.submit("--wrap", "echo run $GFLOW_ATTEMPT; exit $((2 - GFLOW_ATTEMPT))")
    assert up.wait(job_id) == 1
    up.ctl("requeue", str(job_id))
    assert up.wait(job_id) == 0
    assert up.job(job_id)["attempt"] == 2


def test_a_failed_job_is_redone_with_all_that_fell(up: Machine) -> None:
    head = up.submit("-n", "head", "--wrap", "[ -e ok ]")
    middle = up.submit("-n", "middle", "-d", str(head), "true")
    leaf = up.submit("-n", "leaf", "-d", f"{middle},{head}", "true")
    assert up.wait(leaf) == 130
    (up.work / "ok").touch()
    first, _, last = up.ctl("redo", "--parsable", "--cascade", str(head), "-n", "again").stdout.strip().partition("-")
    new = range(int(first), int(last) + 1)
    assert up.wait(*new) == 0
    jobs = [up.job(job_id) for job_id in new]
    assert [(job["name"], job["redone_from"]) for job in jobs] == [("again", head), ("middle", middle), ("leaf", leaf)]
    assert [each["id"] for each in jobs[2]["dependencies"]] == [new[1], new[0]]


def test_a_failed_element_is_redone_with_all_that_fell(up: Machine) -> None:
    done = up.ctl("submit", "--parsable", "-a", "1-3", "--wrap", "[ $GFLOW_ARRAY_TASK_ID != 2 ] || [ -e ok ]").stdout
    array = int(done.partition("-")[0])
    whole, one = up.submit("-d", str(array), "true"), up.submit("-d", f"{array}_2", "true")
    untouched = up.submit("-d", f"{array}_1", "true")
    up.wait(whole, one, untouched)
    (up.work / "ok").touch()
    first, _, last = up.ctl("redo", "--parsable", "--cascade", f"{array}_2").stdout.strip().partition("-")
    new = range(int(first), int(last) + 1)
    assert up.wait(*new) == 0
    assert sorted(up.job(job_id)["redone_from"] for job_id in new) == [array + 1, whole, one]
