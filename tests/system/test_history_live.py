"""Jobs leave for the history beside a daemon at work, and nobody who asks for one notices."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.machine import GATE, Machine, kill
from support.waiting import eventually

from gflowd.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Collection


@pytest.fixture
def leaving(machine: Machine) -> Machine:
    """Every job leaves as soon as it has ended."""
    machine.write_config(history={"after": "0s"}, executor={"type": "process"}, gpu={"simulate": "2x8G"})
    machine.start()
    return machine


def in_snapshot(machine: Machine) -> dict[str, Collection[Any]]:
    fold = Store(machine.state).read()
    return {kind: set(fold.of(kind)) for kind in ("spec", "wish", "phase", "attempt", "limit") if fold.of(kind)}


def left(machine: Machine, *ids: int) -> None:
    """Waits until nothing of these jobs is in the snapshot."""

    def gone() -> bool:
        found = in_snapshot(machine)
        return not any(str(key).split(".")[0] in map(str, ids) for keys in found.values() for key in keys)

    eventually(gone)


def test_a_job_that_has_left_is_shown_waited_for_and_redone_as_ever(leaving: Machine) -> None:
    good = leaving.submit("--wrap", "echo hello")
    bad = leaving.submit("-g", "1", "--wrap", "exit 3")
    assert leaving.wait(bad) == 3
    assert leaving.wait(good) == 0
    left(leaving, good, bad)
    assert leaving.log(good) == b"hello\n"
    assert leaving.job(bad)["gpu_ids"] == [0]
    assert leaving.jobs().keys() == {good, bad}
    assert json.loads(leaving.ctl("queue", "--json").stdout) == []
    assert "NonZeroExit" in leaving.ctl("show", str(bad)).stdout
    new = int(leaving.ctl("redo", "--parsable", str(good)).stdout)
    assert leaving.wait(new) == 0
    assert leaving.log(new) == b"hello\n"
    stats = json.loads(leaving.ctl("stats", "--json").stdout)["groups"][0]
    assert (stats["jobs"], stats["finished"], stats["failed"], stats["peak_gpus"]) == (3, 2, 1, 1)


def test_dependencies_on_jobs_that_have_left_count_by_how_these_ended(leaving: Machine) -> None:
    good = leaving.submit("true")
    array = int(leaving.ctl("submit", "--parsable", "-a", "1-3", "--wrap", "[ $GFLOW_ARRAY_TASK_ID != 2 ]")
                .stdout.split("-")[0])  # fmt: skip
    assert leaving.wait(good, array) == 1
    left(leaving, good, array, array + 1, array + 2)
    after_good = leaving.submit("-d", str(good), "true")
    after_array = leaving.submit("-d", str(array), "true")
    after_failure = leaving.submit("-d", f"afternotok:{array}", "true")
    twin = int(leaving.ctl("submit", "--parsable", "-a", "1-3", "-d", f"aftercorr:{array}", "true")
               .stdout.split("-")[0])  # fmt: skip
    leaving.wait(after_good, after_array, after_failure, twin)
    jobs = leaving.jobs()
    states = {job_id: (job["state"], job["reason"]) for job_id, job in jobs.items()}
    fine = ("finished", None)
    assert [states[job_id] for job_id in (after_good, after_failure, twin, twin + 2)] == [fine] * 4
    assert states[after_array] == ("cancelled", f"DependencyFailed:{array}")
    assert states[twin + 1] == ("cancelled", f"DependencyFailed:{array + 1}")


def test_a_job_stays_while_another_waits_for_it(leaving: Machine) -> None:
    first = leaving.submit("--wrap", GATE.replace("gate", "first"))
    second = leaving.submit("--wrap", GATE)
    third = leaving.submit("-d", f"{first},{second}", "true")
    leaving.open_gate("first")
    assert leaving.wait(first) == 0
    last = leaving.submit("true")
    assert leaving.wait(last) == 0
    left(leaving, last)
    assert in_snapshot(leaving)["spec"] == {first, second, third}
    leaving.open_gate()
    assert leaving.wait(third) == 0


def test_retries_go_with_their_job(leaving: Machine) -> None:
    job_id = leaving.submit("--max-retries", "1", "--wrap", "echo $GFLOW_ATTEMPT; [ $GFLOW_ATTEMPT = 2 ]")
    assert leaving.wait(job_id) == 0
    left(leaving, job_id)
    (shown,) = json.loads(leaving.ctl("show", "--json", str(job_id)).stdout)
    assert [past["state"] for past in shown["attempts"]] == ["failed"]
    assert leaving.ctl("log", "--attempt", "1", str(job_id)).stdout == "1\n"


def test_kill_nine_of_the_scheduler_as_jobs_leave_loses_and_doubles_none(leaving: Machine) -> None:
    ids: list[int] = []
    for _ in range(4):
        submitting = leaving.begin_many(10)
        kill(leaving.worker("scheduler"))
        ids += leaving.submitted(submitting)
    assert leaving.wait(*ids) == 0
    left(leaving, *ids)
    leaving.ran_exactly_once(ids)
    assert [job["id"] for job in json.loads(leaving.ctl("queue", "-a", "--json").stdout)] == ids


def test_copied_but_not_dropped_when_all_was_killed_a_job_leaves_once(machine: Machine) -> None:
    """A history that is ahead of the snapshot: as after kill -9, or power lost, between the two commits."""
    machine.write_config(history={"after": "0s"}, executor={"type": "process"})
    machine.start()
    job_id = machine.submit("--wrap", "echo x >>ran")
    snapshot = Path(machine.state.snapshot)
    assert machine.wait(job_id) == 0
    left(machine, job_id)
    machine.stop()
    lines = snapshot.read_bytes().splitlines(keepends=True)
    snapshot.write_bytes(b"".join(line for line in lines if b",null]" not in line))
    assert in_snapshot(machine)["phase"] == {job_id}
    assert machine.jobs().keys() == {job_id}
    machine.start()
    left(machine, job_id)
    assert machine.jobs()[job_id]["state"] == "finished"
    assert machine.lines("ran") == ["x"]


def test_a_damaged_history_is_set_aside_at_the_start_and_said(leaving: Machine) -> None:
    job_id = leaving.submit("true")
    leaving.wait(job_id)
    left(leaving, job_id)
    leaving.stop()
    Path(leaving.state.history).write_bytes(b"no database" * 1000)
    assert "history.db: file is not a database" in leaving.refused(3, "show", str(job_id))
    leaving.start()
    eventually(lambda: "the history was damaged" in leaving.daemon_log())
    other = leaving.submit("true")
    assert leaving.wait(other) == 0
    left(leaving, other)
    assert leaving.jobs().keys() == {other}
    assert "a damaged history was kept" in leaving.ctl("doctor", check=False).stdout


def test_a_history_that_is_locked_or_removed_stops_nobody(leaving: Machine) -> None:
    first = leaving.submit("true")
    leaving.wait(first)
    left(leaving, first)
    db = sqlite3.connect(leaving.state.history, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    second = leaving.submit("true")
    assert leaving.wait(second) == 0
    eventually(lambda: "database is locked" in leaving.daemon_log())
    assert leaving.jobs().keys() == {first, second}
    leaving.stop()
    db.close()  # not before: the second must not leave for what is removed
    os.unlink(leaving.state.history)
    leaving.start()
    left(leaving, second)
    assert leaving.jobs().keys() == {second}


def test_directories_and_environments_of_long_ended_jobs_are_cleared_away(machine: Machine) -> None:
    machine.write_config(history={"after": "0s"}, logs={"keep": "1s"}, executor={"type": "process"})
    machine.start()
    running = machine.submit("--wrap", GATE)
    job_id = machine.submit("true", env={**machine.env, "ANOTHER": "environment"})
    assert machine.wait(job_id) == 0
    unused = Path(machine.state.environment("0" * 32))
    unused.touch()
    os.utime(unused, (1e9, 1e9))
    eventually(lambda: not Path(machine.state.job(job_id)).exists())
    eventually(lambda: not unused.exists())
    assert Path(machine.state.job(running)).exists()
    assert "no longer there" in machine.refused(1, "log", str(job_id))
    assert machine.wait(int(machine.ctl("redo", "--parsable", str(job_id)).stdout)) == 0
    machine.open_gate()
    assert machine.wait(running) == 0


def test_ids_go_on_where_they_were_when_snapshot_and_directories_are_gone(leaving: Machine) -> None:
    job_id = leaving.submit("true")
    leaving.wait(job_id)
    left(leaving, job_id)
    leaving.stop()
    snapshot = Path(leaving.state.snapshot)
    data = bytearray(snapshot.read_bytes())
    last = data.rfind(b"\n", 0, -1) + 1
    data[last + 12] ^= 1
    snapshot.write_bytes(data)
    leaving.start()
    assert leaving.submit("true") > job_id
