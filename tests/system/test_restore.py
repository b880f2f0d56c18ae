"""Backups made while the daemon works, and put back: under it, after a loss, in another place."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.machine import GATE, Machine, end, kill
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def elsewhere() -> Iterator[Machine]:
    """A second machine whose daemon does not run yet."""
    found = Machine(Path(tempfile.mkdtemp(prefix="gf-", dir="/tmp")))
    found.config_file.unlink()
    try:
        yield found
    finally:
        found.close()


def event_ids(machine: Machine, kind: str) -> list[tuple[int, ...]]:
    printed = machine.ctl("events", "--json", "--kind", kind).stdout.splitlines()
    return [tuple(map(int, json.loads(line)["id"].split("-"))) for line in printed]


def test_running_jobs_go_on_through_the_loss_of_the_snapshot(own: Machine) -> None:
    running = own.submit("--wrap", f"{GATE}; exit 3")
    own.until(running, "running")
    queued = own.submit("-d", str(running), "--no-auto-cancel", "--wrap", "true")
    own.ctl("backup", "b.tar")
    kill(own.worker("scheduler"))
    own.submit("--hold", "true")  # is lost
    told = eventually(lambda: event_ids(own, "job_submitted")[2:])
    assert "gflowd stop" in own.refused(1, "restore", "--force", "b.tar")
    own.stop()
    Path(own.state.snapshot).unlink()
    Path(own.state.path("events.jsonl")).unlink()
    own.ctl("restore", "--force", "b.tar")
    own.start()
    own.open_gate()
    assert own.wait(running) == 3
    assert set(own.jobs()) == {running, queued}
    assert own.submit("true") > queued
    assert min(event_ids(own, "job")) > max(told)


def test_a_job_that_ran_after_the_backup_is_not_run_again_beside_its_own_directory(own: Machine) -> None:
    job_id = own.submit("--hold", "--wrap", "echo $GFLOW_JOB_ID >>ran; exit 5")
    own.ctl("backup", "b.tar")
    own.ctl("release", str(job_id))
    assert own.wait(job_id) == 5
    own.stop()
    own.ctl("restore", "--force", "b.tar")
    own.start()
    assert own.job(job_id)["state"] == "held"
    own.ctl("release", str(job_id))
    assert own.wait(job_id) == 5
    own.ran_exactly_once([job_id])


def test_in_another_place_what_ran_is_a_zombie_and_what_was_queued_runs(
    own_default: Machine, elsewhere: Machine
) -> None:
    own = own_default
    running = own.submit("sleep", "1000")
    job = own.until(running, "running")
    eventually(lambda: own.of_job(running))
    queued = own.submit("--hold", "-D", "/", "--wrap", "echo $WORD", env={**own.env, "WORD": "kept"})
    own.ctl("backup", "b.tar")
    own.stop()
    kill(job["pid"])
    end(*own.of_job(running))
    elsewhere.ctl("restore", str(own.work / "b.tar"))
    assert elsewhere.config_file.read_text() == own.config_file.read_text()
    elsewhere.start()
    assert elsewhere.ended(running)["reason"] == "Zombie"
    elsewhere.ctl("release", str(queued))
    assert elsewhere.wait(queued) == 0
    assert elsewhere.log(queued) == b"kept\n"
    own.start()  # to end its tmux server, which has no job any more
    own.wait(running)


def test_each_backup_made_under_load_is_whole(own_default: Machine, elsewhere: Machine) -> None:
    submitting = own_default.begin_many(30)
    eventually(own_default.jobs)
    counts = []
    for number in range(4):
        own_default.ctl("backup", "--logs", f"{number}.tar")
        elsewhere.ctl("restore", "--force", str(own_default.work / f"{number}.tar"))
        found = elsewhere.jobs()
        assert set(found) == set(range(1, len(found) + 1))
        counts.append(len(found))
        shutil.rmtree(elsewhere.state.root)
    ids = own_default.submitted(submitting)
    assert counts == sorted(counts)
    own_default.until_in(ids, "finished")
