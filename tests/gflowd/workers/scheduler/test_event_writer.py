"""The scheduler tells what happened: after each commit, again what a kill kept from being told, and later what the disk
refused.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.specs import SPEC

from gflowd.config import loader
from gflowd.core.job import codec
from gflowd.core.job.model import Ended
from gflowd.core.moment import Moment
from gflowd.paths import State
from gflowd.storage.journal import lines
from gflowd.storage.journal.reader import Reader
from gflowd.storage.store import Store
from gflowd.workers.scheduler.event_writer import RETRY, EventWriter
from gflowd.workers.scheduler.snapshot_follower import SchedulerState

CONFIG = replace(loader.load(None, {"HOME": "/nonexistent"}, {}), history_after=0.0)
OVER = Ended(state="cancelled", ended_at=5.0)


class Desk:
    """A scheduler's snapshot and journal."""

    def __init__(self, root: Path) -> None:
        self.state = State(str(root / "state"))
        self.state.prepare()
        self.store = Store(self.state)
        self.mono = 0.0
        self.reader = Reader(self.state)
        self.submit(1)
        self.start()

    def start(self) -> None:
        """As after a restart."""
        self.current = SchedulerState(self.state, CONFIG)
        self.events = EventWriter(self.state, CONFIG.events_keep)

    def put(self, kind: str, key: int, value: Any) -> None:
        with self.store.commit() as commit:
            commit.put(kind, key, value)
            commit.next_id = max(commit.next_id, key + 1)

    def submit(self, job_id: int) -> None:
        self.put("spec", job_id, codec.encode(SPEC))

    def end(self, job_id: int) -> None:
        self.put("phase", job_id, codec.encode_phase(OVER))

    def tick(self, later: float = 0.0) -> list[tuple[str, int]]:
        """What is new to a reader afterwards."""
        self.work(later)
        return [(event["kind"].removeprefix("job_"), event["job"]) for event in self.reader.read()]

    def work(self, later: float = 0.0) -> None:
        """As the scheduler does in a tick."""
        self.mono += later
        self.current.catch_up()
        self.events.tell(self.current, self.now)
        self.current.archive(self.now)

    @property
    def now(self) -> Moment:
        return Moment(100.0 + self.mono, self.mono, "b")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_what_happened_before_the_first_start_is_told(desk: Desk) -> None:
    assert desk.tick() == [("submitted", 1)]
    assert desk.tick() == []


def test_what_a_kill_kept_from_being_told_is_told_by_the_next(desk: Desk) -> None:
    desk.tick()
    desk.end(1)
    desk.submit(2)
    desk.current.catch_up()
    desk.start()
    assert desk.tick() == [("submitted", 2), ("ended", 1)]
    desk.start()
    assert desk.tick() == []
    assert [event["id"] for event in Reader(desk.state).read()] == ["1-1", "2-1", "2-2"]


def test_a_lost_journal_does_not_tell_old_things_again(desk: Desk) -> None:
    desk.tick()
    desk.end(1)
    Path(desk.state.path(lines.CURRENT)).unlink()
    desk.start()
    assert desk.tick() == []
    desk.submit(2)
    assert desk.tick() == [("submitted", 2)]
    assert desk.reader.lost


def test_what_the_disk_refuses_is_told_later(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """It is not archived unsaid, and the tick goes on."""
    path = Path(desk.state.path(lines.CURRENT))
    path.mkdir()
    desk.work()
    assert desk.events.retry_at == RETRY
    desk.submit(2)
    desk.work(1.0)
    path.rmdir()
    assert desk.tick(1.0) == [], "not before its time"
    assert desk.tick(RETRY) == [("submitted", 1), ("submitted", 2)]
    assert desk.events.retry_at is None
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    desk.events.close()


def test_jobs_that_leave_are_forgotten(desk: Desk) -> None:
    desk.end(1)
    assert desk.tick() == [("submitted", 1), ("ended", 1)]
    desk.tick()
    first = json.loads(Path(desk.state.path(lines.CURRENT)).read_bytes().splitlines()[0])
    assert first == {"checkpoint": {"specs": [], "over": [], "jobs": []}, "after": "0-0"}
    Path(desk.state.path(lines.CURRENT)).unlink()
    desk.submit(2)
    assert desk.tick() == [("submitted", 2)]
    first = json.loads(Path(desk.state.path(lines.CURRENT)).read_bytes().splitlines()[0])
    assert first["checkpoint"]["over"] == []
