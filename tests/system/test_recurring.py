"""Series under the real daemon: each run is followed by the next, through kills, stops and runs that take too long."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from support.machine import Machine, kill, new_machine
from support.waiting import eventually

OFTEN = ("--repeat", "every 1s")
GATED = ("--wrap", "touch begun-$GFLOW_JOB_ID; until [ -e gate ]; do sleep 0.02; done")


@pytest.fixture(scope="module")
def daemon() -> Iterator[Machine]:
    with new_machine() as found:
        found.write_config(executor={"type": "process"})
        found.start()
        yield found


@pytest.fixture
def up(daemon: Machine) -> Iterator[Machine]:
    with daemon.visit():
        yield daemon


def runs(machine: Machine, series: int) -> list[dict[str, Any]]:
    """The runs of a series, the first first."""
    return [job for job in machine.jobs().values() if job["repeat"] and job["repeat"]["series"] == series]


def seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def is_sound(found: list[dict[str, Any]]) -> bool:
    """No two runs were due at the same time, and none began before its time or before the one before had ended."""
    dues = [seconds(run["repeat"]["due_at"]) for run in found]
    assert all(one < other for one, other in pairwise(dues)), dues
    assert len([run for run in found if run["state"] in ("queued", "held")]) <= 1, found
    begun = [run for run in found if run["started_at"]]
    assert all(seconds(run["started_at"]) >= seconds(run["repeat"]["due_at"]) for run in begun)
    for one, other in pairwise(begun):
        assert one["ended_at"]
        assert seconds(one["ended_at"]) <= seconds(other["started_at"])
    return True


def ran_once(machine: Machine, ids: list[int]) -> None:
    """Each run that finished has left one line, one that was cancelled while it ran may have, and nobody else has."""
    left = list(map(int, machine.lines("ran")))
    cut = {job_id for job_id in ids if machine.job(job_id)["state"] == "cancelled"}
    machine.ran_exactly_once([job_id for job_id in ids if job_id not in cut or job_id in left])


def test_a_series_comes_again_until_it_is_cancelled(up: Machine) -> None:
    series = up.submit(*OFTEN, "--wrap", "echo $GFLOW_JOB_ID >>ran; echo $WORD", env={**up.env, "WORD": "kept"})
    found = eventually(lambda: runs(up, series) if len(up.lines("ran")) > 2 else None)
    assert is_sound(found or [])
    up.ctl("cancel", str(series))
    ids = [run["id"] for run in runs(up, series)]
    assert ids[0] == series
    up.wait(*ids)
    assert [run["id"] for run in runs(up, series)] == ids, "nothing follows"
    ran_once(up, ids)
    assert up.log(ids[1]) == b"kept\n", "with the environment of its submission"


@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_a_run_that_is_due_while_another_goes_on(up: Machine, overlap: str) -> None:
    series = up.submit(*OFTEN, "--overlap", overlap, *GATED)
    eventually((up.work / f"begun-{series}").exists)
    _, following = runs(up, series)
    due = seconds(following["repeat"]["due_at"])

    def is_overtaken() -> bool:
        job = up.job(following["id"])
        assert job["state"] == "queued"
        if overlap == "skip":
            return seconds(job["begin_at"]) > due
        return bool(job["reason"] == "Dependency")

    eventually(is_overtaken)
    assert len(runs(up, series)) == 2
    up.open_gate()
    started = up.until(following["id"], "finished")
    ended = up.job(series)["ended_at"]
    assert seconds(ended) >= due
    assert seconds(started["started_at"]) >= seconds(ended)
    up.ctl("cancel", str(series))
    assert is_sound(runs(up, series))


def test_a_series_is_held_changed_and_passed_by(up: Machine) -> None:
    series = up.submit("--repeat", "daily 02:00", "--wrap", "true")
    up.ctl("hold", str(series))
    up.ctl("update", str(series), "--comment", "changed", "--begin", "now")
    assert up.job(series)["state"] == "held"
    up.ctl("release", str(series))
    assert up.until(series, "finished")["comment"] == "changed"
    first, second = runs(up, series)
    assert (second["comment"], second["state"], second["reason"]) == ("changed", "queued", "BeginTime")
    up.ctl("cancel", str(second["id"]))
    third = eventually(lambda: [run for run in runs(up, series) if run["state"] == "queued"])[0]
    dues = [seconds(run["repeat"]["due_at"]) for run in (first, second, third)]
    assert all(82800 <= other - one <= 90000 for one, other in pairwise(dues)), "a day each, whatever the clocks do"
    up.ctl("cancel", str(series))
    assert up.until(third["id"], "cancelled")
    assert len(runs(up, series)) == 3


def test_a_series_outlives_killed_schedulers_without_a_run_lost_or_doubled(up: Machine) -> None:
    series = up.submit(*OFTEN, "--wrap", "echo $GFLOW_JOB_ID >>ran")
    for count in (1, 2):
        eventually(lambda count=count: len(up.lines("ran")) >= count)  # type: ignore[misc]
        kill(up.worker("scheduler"))
    eventually(lambda: len(up.lines("ran")) >= 4)
    up.ctl("cancel", str(series))
    found = runs(up, series)
    up.wait(*(run["id"] for run in found))
    assert is_sound(found)
    ran_once(up, [run["id"] for run in found])


def test_what_was_missed_while_the_daemon_was_down_comes_to_one_late_run(own_process: Machine) -> None:
    machine = own_process
    series = machine.submit(*OFTEN, "--wrap", "echo $GFLOW_JOB_ID >>ran")
    eventually(lambda: len(machine.lines("ran")) >= 1)
    machine.stop()
    eventually(lambda: not machine.processes())  # a run that has begun goes on, and leaves its line
    before = runs(machine, series)
    missed = before[-1]
    assert missed["state"] == "queued"
    stood = len(machine.lines("ran"))
    due = seconds(missed["repeat"]["due_at"])
    eventually(lambda: datetime.now().astimezone().timestamp() > due + 2)
    back = datetime.now().astimezone().timestamp()
    machine.start()
    late = machine.until(missed["id"], "finished")
    assert seconds(late["started_at"]) > due + 2
    found = eventually(lambda: again if len(again := runs(machine, series)) > len(before) else None)
    assert found
    assert seconds(found[len(before)]["repeat"]["due_at"]) >= back
    machine.ctl("cancel", str(series))
    assert is_sound(runs(machine, series))
    assert machine.lines("ran")[stood:][0] == str(missed["id"])


@pytest.fixture
def own_process(machine: Machine) -> Machine:
    machine.write_config(executor={"type": "process"})
    machine.start()
    return machine
