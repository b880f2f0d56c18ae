"""What is left of jobs of many users when it is too old, and when they have ended."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from shared_stage import UID, SharedJobs, shared_jobs
from stage import now
from support.waiting import eventually

from gflowd.core.job.records import SPEC
from gflowd.workers.base import Wiring
from gflowd.workers.scheduler.upkeep import removals
from gflowd.workers.scheduler.upkeep.cleanup import Cleanup
from gflowd.workers.scheduler.upkeep.scratch import Scratch


@pytest.fixture
def jobs(wiring: Wiring) -> Iterator[SharedJobs]:
    with shared_jobs(wiring) as made:
        yield made


def put(path: Path, *, old: bool) -> Path:
    """A file of the user's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    at = time.time() - (1e6 if old else 0)
    os.utime(path, (at, at))
    os.chown(path, UID, UID)
    return path


def test_what_is_too_old_is_removed_by_its_user(jobs: SharedJobs) -> None:
    for job_id in (1, 2):
        jobs.prepare(job_id, "true")
        put(jobs.own(job_id) / "log", old=True)
    for place in (jobs.state.attempt(1, 1), jobs.state.own_job(1), jobs.state.job(1)):
        subprocess.run(["touch", "-d", "@1000", place], check=True)
    place = Path(jobs.state.users, str(UID))
    kept = [put(place / "env/used", old=True), put(place / "env/young", old=False)]
    kept += [put(place / "outputs/2.x", old=True), put(place / "outputs/9.y", old=False)]
    gone = [put(place / "env/unused.sh", old=True), put(place / "scripts/unused", old=True)]
    gone += [put(place / "outputs/9.x", old=True)]
    os.chown(place / "outputs", UID, UID)
    records = {SPEC: {2: {"env": "used", "uid": UID}}}
    fold = SimpleNamespace(of=lambda kind: records.get(kind, {}))
    queue = SimpleNamespace(spec_of=lambda job_id: job_id)
    groups = removals.groups(jobs.state, jobs.wiring.config)
    assert groups is not None
    cleanup = Cleanup(jobs.state, 100.0, groups)
    later = iter(range(1000, 100_000_000, 1000))

    def swept() -> bool:
        cleanup.sweep(fold, queue, now(mono=float(next(later))))  # type: ignore[arg-type]
        return not os.path.exists(jobs.state.job(1)) and not any(each.exists() for each in gone)

    def over() -> bool:
        """What removed the last of it may not have ended yet."""
        cleanup.sweep(fold, queue, now(mono=float(next(later))))  # type: ignore[arg-type]
        return cleanup._removal is None and cleanup._marks is None

    eventually(swept)
    eventually(over)
    assert os.path.exists(jobs.own(2) / "log")
    assert all(each.exists() for each in kept)
    cleanup.touch(records[SPEC][2])
    assert kept[0].stat().st_mtime > time.time() - 1000


def test_temporary_files_go_with_the_last_process_of_a_job(jobs: SharedJobs) -> None:
    groups = removals.groups(jobs.state, jobs.wiring.config)
    scratch = Scratch(jobs.state, "/tmp", groups)
    path = Path(scratch.make(1, (UID, UID)))
    assert path.parent.parent == jobs.place
    put(path / "deep/er/file", old=False)
    os.chown(path / "deep", UID, UID)
    os.chown(path / "deep/er", UID, UID)
    jobs.start(1, "exec sleep 1000")
    eventually(lambda: jobs.groups.is_populated((1, 1)))
    assert scratch.sweep(lambda _: False, 0.0) is None
    assert path.exists(), "it is in use, though no record says so"
    jobs.groups.kill((1, 1))
    eventually(lambda: not jobs.groups.is_populated((1, 1)))
    eventually(lambda: scratch.sweep(lambda _: False, time.monotonic()) is None)
    assert not path.parent.exists()
