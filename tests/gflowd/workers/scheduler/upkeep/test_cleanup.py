from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from support.specs import SPEC

from gflowctl.submit import capture
from gflowd.core.job import codec
from gflowd.core.job.model import Ended, Run, Starting, Wish
from gflowd.core.moment import Moment
from gflowd.core.queue.job_queue import JobQueue
from gflowd.core.queue.job_records import JobRecords
from gflowd.effects.attempt import removal
from gflowd.paths import State, content_name
from gflowd.storage.record_log import Fold
from gflowd.workers.scheduler.upkeep import cleanup as module
from gflowd.workers.scheduler.upkeep.cleanup import Cleanup

KEEP = 30 * 86400.0
RUN = Run(executor="process", launched_at=1.0)
NOW = 1.7e9
OLD, YOUNG = NOW - 2 * KEEP, NOW - KEEP / 2


class Attic:
    """A state directory with things of any age."""

    def __init__(self, state: State, keep: float | None = KEEP) -> None:
        self.state = state
        self.fold = Fold()
        self.job_queue = JobQueue(JobRecords(*(self.fold.of(kind) for kind in ("spec", "wish", "phase"))))
        self.cleanup = Cleanup(state, keep)
        self.mono = 0.0

    def job(self, job_id: int, phase: Any = None, wish: Wish | None = None, **fields: Any) -> None:
        """In the snapshot."""
        spec = SPEC.replace(env="used").replace(**fields)
        self.fold.of("spec")[job_id] = codec.encode(spec)
        if phase is not None:
            self.fold.of("phase")[job_id] = codec.encode_phase(phase)
        if wish is not None:
            self.fold.of("wish")[job_id] = codec.encode(wish)
        self.job_queue.refresh([job_id], ())

    def directory(self, job_id: int, at: float = OLD) -> Path:
        place = Path(self.state.attempt(job_id, 1))
        place.mkdir(parents=True)
        (place / "log").write_text("x")
        for each in (place, place.parent):
            os.utime(each, (at, at))
        return place.parent

    def file(self, kind: str, name: str, at: float = OLD) -> Path:
        path = Path(self.state.path(kind, name))
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
        os.utime(path, (at, at))
        return path

    def sweep(self) -> None:
        """A whole round."""
        before = self.mono
        while self.cleanup.wake_at <= self.mono:
            self.sweep_a_part()
        self.mono = self.cleanup.wake_at
        assert before < self.mono < before + 3601

    def sweep_a_part(self) -> None:
        """What is done in one tick, and beside it."""
        self.cleanup.sweep(self.fold, self.job_queue, Moment(NOW, self.mono, "boot"))
        if self.cleanup._removal is not None:
            self.cleanup._removal._process.wait()


@pytest.fixture
def attic(state: State) -> Attic:
    made = Attic(state)
    made.sweep()  # the first round comes a minute after the start
    return made


def ended(at: float, **fields: Any) -> Ended:
    return Ended(state="finished", ended_at=at, run=RUN, **fields)


def test_directories_of_jobs_that_ended_long_ago_go_and_no_others(attic: Attic) -> None:
    attic.job(1, ended(OLD))
    attic.job(2, ended(YOUNG))
    attic.job(3)
    attic.job(4, Starting(run=RUN))
    attic.job(5, ended(OLD, lingers=True))
    attic.job(6, ended(OLD), Wish(requeued=1))
    places = [attic.directory(job_id) for job_id in range(1, 9)]
    os.utime(places[7] / "1", (YOUNG, YOUNG))  # jobs 7 and 8 have left the snapshot
    attic.sweep()
    assert [place.name for place in places if place.exists()] == ["2", "3", "4", "5", "6", "8"]


def test_what_is_no_directory_of_a_job_stays(attic: Attic, tmp_path: Path) -> None:
    attic.directory(1)
    jobs = Path(attic.state.path("jobs"))
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "data").touch()
    (jobs / "2").symlink_to(precious)
    (jobs / "3").write_text("a file")
    inside = attic.directory(4) / "1" / "link"
    inside.symlink_to(precious)
    os.utime(inside.parent, (OLD, OLD))
    os.utime(precious, (OLD, OLD))
    (jobs / "notes").mkdir()
    for name in ("2", "3", "notes"):
        os.utime(jobs / name, (OLD, OLD), follow_symlinks=False)
    attic.sweep()
    assert sorted(os.listdir(jobs)) == ["2", "3", "notes"]
    assert (precious / "data").exists()


def test_what_gflow_has_put_into_the_directory_of_a_cluster_goes_too(attic: Attic, tmp_path: Path) -> None:
    shared, foreign = tmp_path / "shared", tmp_path / "foreign"
    attic.cleanup._places = (str(shared),)
    for at, there, job_id in ((shared, 1, 1), (shared, 2, 2), (foreign, 3, 3), (shared, 9, 4)):
        place = at / "us" / "jobs" / str(there) / "2"
        place.mkdir(parents=True)
        age = YOUNG if job_id == 2 else OLD
        link = attic.directory(job_id, age) / "2"
        link.symlink_to(place)
        os.utime(link, (age, age), follow_symlinks=False)
        os.utime(link.parent, (age, age))
    attic.sweep()
    assert os.listdir(attic.state.path("jobs")) == ["2"]
    assert sorted(os.listdir(shared / "us" / "jobs")) == ["2", "9"], "9 is not the directory of 4"
    assert os.listdir(foreign / "us" / "jobs") == ["3"]


def test_a_link_in_place_of_the_directory_of_all_jobs_is_not_followed(attic: Attic, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "1").mkdir(parents=True)
    os.utime(elsewhere / "1", (OLD, OLD))
    Path(attic.state.path("jobs")).symlink_to(elsewhere)
    attic.sweep()
    assert (elsewhere / "1").exists()


def test_nested_as_deep_as_a_job_likes(attic: Attic) -> None:
    place = attic.directory(1)
    fd = os.open(place / "1", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    for each in (place / "1", place):
        os.utime(each, (OLD, OLD))
    attic.sweep()
    assert not place.exists()


def test_nothing_else_is_done_while_a_removal_goes_on(attic: Attic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "TOOL", ("sh", "-c", "exec sleep 60"))  # sleep itself refuses a path
    place = attic.directory(1)
    moment = Moment(NOW, attic.mono, "boot")
    attic.cleanup.sweep(attic.fold, attic.job_queue, moment)
    going_on = attic.cleanup._removal
    assert going_on is not None
    attic.cleanup.wake_at = attic.mono
    attic.cleanup.sweep(attic.fold, attic.job_queue, moment)
    assert attic.cleanup._removal is going_on
    assert attic.cleanup.wake_at == attic.mono + module.PAUSE
    going_on._process.kill()
    going_on._process.wait()
    assert going_on.left() == [str(place)]


def test_many_are_removed_in_parts(attic: Attic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMOVALS", 3)
    monkeypatch.setattr(module, "LOOKS", 5)
    places = [attic.directory(job_id) for job_id in range(1, 21)]
    attic.sweep_a_part()
    assert sum(place.exists() for place in places) == 17
    assert attic.cleanup.wake_at == attic.mono
    attic.sweep()
    assert not any(place.exists() for place in places)


def test_what_cannot_be_removed_is_told_once_and_stops_nothing(
    attic: Attic, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    attic.directory(1)
    monkeypatch.setattr(logging.getLogger("gflow"), "propagate", True)
    caplog.set_level("DEBUG", logger="gflow")  # a test before may have set another

    monkeypatch.setattr(removal, "TOOL", ("false",))  # root may remove anything
    for _ in range(3):
        attic.sweep()
    assert len({id(record) for record in caplog.records}) == 1


def test_environments_and_scripts_that_nobody_used_for_long_go(attic: Attic) -> None:
    attic.job(1, script="kept")
    used = [attic.file("env", "used"), attic.file("env", "used.sh"), attic.file("scripts", "kept")]
    young = [attic.file("env", "young", YOUNG), attic.file("scripts", "young", YOUNG)]
    old = [attic.file("env", "old"), attic.file("env", "old.sh"), attic.file("scripts", "old")]
    attic.sweep()
    assert all(path.exists() for path in used + young)
    assert not any(path.exists() for path in old)


def test_marks_of_files_that_were_emptied_stay_as_long_as_their_submission(attic: Attic) -> None:
    attic.job(12, batch=11)
    kept, gone = [attic.file("outputs", f"{first}.abc") for first in (11, 12)], attic.file("outputs", "1.abc")
    attic.sweep()
    assert all(path.exists() for path in kept)
    assert not gone.exists()


def test_an_environment_is_younger_than_a_day_until_it_is_not(state: State) -> None:
    attic = Attic(state, keep=60.0)
    attic.sweep()
    before, after = attic.file("env", "a", NOW - 86_500), attic.file("env", "b", NOW - 86_300)
    attic.sweep()
    assert (before.exists(), after.exists()) == (False, True)


def test_what_a_submission_takes_in_use_as_it_is_swept_stays(attic: Attic, monkeypatch: pytest.MonkeyPatch) -> None:
    path = attic.file("env", "x")
    rename = os.rename

    def submitted_meanwhile(source: str, target: str) -> None:
        os.utime(source, (NOW, NOW))
        rename(source, target)

    monkeypatch.setattr(os, "rename", submitted_meanwhile)
    attic.sweep()
    assert path.read_text() == "x"
    assert os.listdir(path.parent) == ["x"]


def test_who_submits_what_is_kept_already_makes_it_young(attic: Attic) -> None:
    variables, script = b"A=1", b"#!/bin/sh\n"
    places = attic.state.environment(content_name(variables + b"\0")), attic.state.script(content_name(script))
    for _ in range(2):
        capture.keep(attic.state, [[variables]], [script])
        assert min(Path(path).stat().st_mtime for path in places) > OLD
        for path in places:
            os.utime(path, (OLD, OLD))


def test_the_archivist_makes_young_what_a_job_that_leaves_had(attic: Attic) -> None:
    env, script = attic.file("env", "used"), attic.file("scripts", "s")
    attic.job(1, ended(OLD), script="s")
    attic.cleanup.touch(attic.fold.of("spec")[1])
    attic.cleanup.touch({"env": "missing"})
    assert min(env.stat().st_mtime, script.stat().st_mtime) > OLD


def test_who_keeps_logs_for_ever_sweeps_nothing(state: State) -> None:
    attic = Attic(state, keep=None)
    place = attic.directory(1)
    assert attic.cleanup.wake_at == float("inf")
    attic.cleanup.sweep(attic.fold, attic.job_queue, Moment(NOW, 1e9, "boot"))
    assert place.exists()


def test_what_a_killed_writer_left_beside_the_snapshot_goes_with_time(attic: Attic) -> None:
    old, young = (attic.file("", f"options.new.{pid}", at) for pid, at in ((7, OLD), (8, YOUNG)))
    other = attic.file("", "options.new.mine", OLD)
    attic.sweep()
    attic.sweep()
    assert [path.exists() for path in (old, young, other)] == [False, True, True]
