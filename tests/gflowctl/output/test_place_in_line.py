"""What a user is told of a job's place in line, and of what was promised."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from support import elapsed

from gflowctl.output import place_in_line
from gflowd.core.job import codec

if TYPE_CHECKING:
    from support.ctl import Ctl

HOUR = 3600.0


def submit(ctl: Ctl, waited: float, *words: str) -> int:
    """A job that was submitted so many seconds ago."""
    job_id = ctl.submit(*words, "true")
    with ctl.store.commit() as commit:
        commit.put("spec", job_id, codec.encode(ctl.spec(job_id).replace(submitted_at=time.time() - waited)))
    return job_id


def line(*order: int, **fields: Any) -> dict[str, Any]:
    empty = {"ready": {}, "lengths": {}, "shares": {}, "until": {}, "longest": {}}
    return {"order": list(order), **empty, **fields}


def promise(ctl: Ctl, job_id: int, **fields: Any) -> None:
    with ctl.store.commit() as commit:
        commit.put("promise", job_id, {"since": 1.0, "by": [], **fields})


def told(ctl: Ctl, job_id: int, words: str | None = None) -> dict[str, str]:
    """What `show` says, by key."""
    pairs = (each.split(":", 1) for each in ctl.ok("show", words or str(job_id)).splitlines())
    return {key: text.strip() for key, text in pairs}


def test_the_place_in_line_is_told_with_the_score_its_parts_and_who_is_ahead(up: Ctl) -> None:
    for waited, *words in ((9 * HOUR, "-t", "1h"), (8 * HOUR, "-t", "1h"), (3 * HOUR, "-t", "2h", "-g", "2")):
        submit(up, waited, *words)
    up.observe(line=line(2, 1, 3, shares={"x": 1.0}), reasons={"3": "Priority"})
    asked = time.time()
    said = told(up, 3, "3-3")["In line"]
    found = re.fullmatch(
        r"3rd, score 1\.7 = waited (3:00:\d\d) / limit 2:00:00 \(counts as 2:16:32\) x 1\.26 \(2 GPUs\); "
        r"behind 2 \(7\), 1 \(7\.9\)",
        said,
    )
    assert found, said
    assert elapsed.is_told(found[1], since=up.spec(3).submitted_at, asked=asked)
    assert "Length" not in told(up, 3)
    assert told(up, 2)["In line"].startswith("1st, ")
    assert "behind" not in told(up, 2)["In line"]


def test_who_is_ahead_is_told_too_when_a_single_job_is_asked_for(up: Ctl) -> None:
    for _ in range(2):
        submit(up, HOUR, "-t", "1h")
    up.observe(line=line(1, 2))
    assert told(up, 2)["In line"].endswith("; behind 1")


def test_a_share_and_a_later_readiness_are_parts_of_the_score(up: Ctl) -> None:
    submit(up, 9 * HOUR, "-t", "1h")
    user = up.spec(1).user
    asked = time.time()
    ready = asked - HOUR
    up.observe(line=line(1, ready={"1": ready}, shares={user: 0.2}))
    said = told(up, 1)["In line"]
    found = re.fullmatch(
        r"1st, score 0\.18 = waited (1:00:\d\d) / limit 1:00:00 \(counts as 1:08:16\) x 0\.2 \(fair share\)", said
    )
    assert found, said
    assert elapsed.is_told(found[1], since=ready, asked=asked)


def test_of_many_ahead_the_last_three_are_named(up: Ctl) -> None:
    for _ in range(5):
        submit(up, HOUR, "-t", "1h")
    up.observe(line=line(1, 2, 99, 4, 3, 5))
    assert re.search(r"; behind 99, 4 \(0\.88\), 3 \(0\.88\)$", told(up, 5, "5-5")["In line"]), "99 is gone since"
    up.observe(line=line(1, 2, 3, 4, 5))
    assert re.search(r"; behind 2 \(.*\), 3 \(.*\), 4 \(.*\)$", told(up, 5, "5-5")["In line"])


@pytest.mark.parametrize(
    ("gpus", "source", "runs", "said"),
    [
        (2, "width", 10, "as your last 10 2-GPU jobs"),
        (2, "width", 1, "as your last of the 2-GPU jobs"),
        (0, "width", 3, "as your last 3 jobs without GPUs"),
        (1, "name", 4, "as your last 4 runs with this name"),
        (1, "name", 1, "as your last run with this name"),
        (1, "array", 5, "as its array's last 5 runs"),
        (1, "user", 1, "as your last run"),
        (1, "everybody", 7, "as the last 7 runs of all users"),
        (1, "default", 0, "default_time_limit of the configuration"),
        (1, "guess", 0, "no similar job has run yet"),
    ],
)
def test_a_job_without_a_limit_is_told_how_long_it_is_expected_to_take_and_why(
    up: Ctl, gpus: int, source: str, runs: int, said: str
) -> None:
    submit(up, HOUR, "-g", str(gpus))
    up.observe(line=line(1, lengths={"1": [9600.0, source, runs]}))
    found = told(up, 1)
    assert found["Length"] == f"expected to take about 2:40:00, {said}; not a limit"
    assert " / length 2:40:00 (counts as 4:33:04)" in found["In line"]


def test_a_promise_is_told_with_those_that_end_before_and_from_when_it_moved_and_why(up: Ctl) -> None:
    at = time.time() + 5 * HOUR
    for _ in range(3):
        submit(up, HOUR, "-t", "1h")
    promise(up, 1, at=at, by=[[8, at - 50], [9, at]])
    promise(up, 2, at=at, by=[[8, at]], was=at - HOUR, cause="job 8 exceeds its limit")
    promise(up, 3, at=at)
    up.observe(line=line(1, 2, 3), expected={"1": at - HOUR, "2": at})
    first, second, third = (told(up, job_id) for job_id in (1, 2, 3))
    shown = utc(at)
    assert first["Promised"] == f"{shown} at the latest (jobs 8, 9 end by then)"
    assert first["Expected"] == f"~{utc(at - HOUR)}, if jobs take as long as expected"
    assert "Moved" not in first
    assert second["Promised"] == f"{shown} at the latest (job 8 ends by then)"
    assert second["Moved"] == f"from {utc(at - HOUR)}, because job 8 exceeds its limit"
    assert third["Promised"] == f"{shown} at the latest"
    assert "Expected" not in third


def utc(at: float) -> str:
    """As gflowctl shows it, for which TZ is UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))


def test_a_place_that_is_kept_without_a_time_says_on_what_that_rests(up: Ctl) -> None:
    submit(up, HOUR, "-t", "1h")
    promise(up, 1, at=None)
    up.observe(line=line(1))
    assert told(up, 1)["Promise"] == (
        "its place is kept; no time is promised, because it depends on jobs without a limit"
    )


def test_without_a_promise_it_is_told_from_when_on_there_will_be_one(up: Ctl) -> None:
    submit(up, HOUR, "-t", "4h")
    submitted = up.spec(1).submitted_at
    for settings, seconds in (
        ({"promise_after": 1.0, "promise_within": 259200.0}, 4 * HOUR),
        ({"promise_after": 1.0, "promise_within": 7200.0}, 2 * HOUR),
    ):
        up.observe(line=line(1), config=settings)
        said = f"none yet; from {utc(submitted + seconds)} at the latest no other job may delay it"
        assert told(up, 1)["Promise"] == said
    up.observe(line=line(1))
    assert "Promise" not in told(up, 1), "an older daemon does not say"


def test_who_could_start_with_a_shorter_limit_is_told_so(up: Ctl) -> None:
    submit(up, HOUR, "-t", "9h")
    submit(up, HOUR, "-t", "9d")
    submit(up, HOUR)
    reasons = {"1": "Priority", "2": "Never:Reservation", "3": "Priority"}
    asked = time.time()
    until = asked + 4 * HOUR
    up.observe(line=line(1, 2, 3, until={"1": until, "3": asked - 5}, longest={"2": 2 * HOUR}), reasons=reasons)
    said = told(up, 1)["Reason"]
    below = re.search(r"; give it a --time below (\S+) and it starts now$", said)
    assert below, said
    assert elapsed.is_left(below[1], until=until, asked=asked)
    assert told(up, 2)["Reason"] == (
        "Never:Reservation (it can never start as things stand: no gap between repeating reservations is long "
        "enough); give it a --time of at most 2:00:00"
    )
    assert told(up, 3)["Reason"] == "Priority (a job ahead of it comes first)", "that time has passed"


def test_the_queue_shows_promises_bare_and_estimates_with_a_tilde(up: Ctl) -> None:
    at = time.time() + HOUR
    for _ in range(4):
        submit(up, HOUR, "-t", "1h")
    promise(up, 1, at=at)
    promise(up, 4, at=None)
    up.observe(line=line(1, 2, 3, 4), expected={"1": at - 60, "2": at, "4": at})
    rows = up.ok("queue", "--start").splitlines()
    header = rows[0].split()
    shown = {row.split()[header.index("JOBID")]: row for row in rows[1:]}
    assert f" {utc(at)}" in shown["1"]
    assert f"~{utc(at)}" in shown["2"]
    assert "N/A" in shown["3"]
    assert f"~{utc(at)}" in shown["4"]
    asked = time.time()
    found = {job["id"]: job for job in up.jobs()}
    took = time.time() - asked
    assert [found[job_id]["rank"] for job_id in (1, 2, 3, 4)] == [1, 2, 3, 4]
    for job_id in (1, 2, 3, 4):
        waited = asked - up.spec(job_id).submitted_at
        assert waited / 4096 - 0.005 <= found[job_id]["score"] <= (waited + took) / 4096 + 0.005
    starts = [
        (job["promised_start"] is not None, job["estimated_start"] is not None, job["expected_start"] is not None)
        for job in (found[job_id] for job_id in (1, 2, 3, 4))
    ]
    assert starts == [(True, True, True), (False, True, True), (False, False, False), (False, True, True)]
    assert found[1]["promised_start"].startswith(utc(at))
    assert found[1]["expected_start"] == found[1]["estimated_start"]
    assert found[1]["estimated_start"].startswith(utc(at - 60))


def test_without_a_daemon_no_place_is_told_but_the_promise_is_on_record(ctl: Ctl) -> None:
    at = time.time() + HOUR
    submit(ctl, HOUR, "-t", "1h")
    promise(ctl, 1, at=at)
    ctl.observe(line=line(1), expected={"1": at - 60})
    found = json.loads(ctl.ok("show", "--json", "1"))[0]
    assert (found["rank"], found["score"], found["estimated_start"]) == (None, None, None)
    assert found["promised_start"].startswith(utc(at))
    assert "In line" not in told(ctl, 1)


def test_who_waits_for_something_else_or_runs_is_in_no_line(up: Ctl) -> None:
    submit(up, HOUR, "--hold")
    submit(up, HOUR)
    up.run_job(2)
    promise(up, 2, at=5.0)
    up.observe(line=line(9, 2))
    for job_id in (1, 2):
        assert {"In line", "Promised", "Promise", "Expected"}.isdisjoint(told(up, job_id))
    assert [job["promised_start"] for job in up.jobs("2")] == [None]


def test_numbers_have_their_endings() -> None:
    wanted = {1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 12: "12th", 21: "21st", 112: "112th", 103: "103rd"}
    assert {number: place_in_line.ordinal(number) for number in wanted} == wanted
