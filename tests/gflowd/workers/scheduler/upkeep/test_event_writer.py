"""The scheduler tells what happened: after each commit, again what a kill kept from being told, and later what the disk
refused.
"""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.specs import SPEC

from gflowd import paths
from gflowd.config import loader
from gflowd.core.gpu.admin_state import AdminState
from gflowd.core.gpu.device import Gpu
from gflowd.core.job import codec
from gflowd.core.job.model import Ended
from gflowd.core.moment import Moment
from gflowd.core.planning.reservations import Reservation, encode
from gflowd.storage.journal import lines
from gflowd.storage.journal.reader import Reader
from gflowd.storage.store import Store
from gflowd.workers.board import MANAGER, Pulse, Pulses
from gflowd.workers.scheduler.upkeep.event_writer import PROCESSES_EVERY, RETRY, EventWriter
from gflowd.workers.scheduler.upkeep.snapshot_follower import SchedulerState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowd.workers.base import Wiring

CONFIG = replace(loader.load(None, {"HOME": "/nonexistent"}, {}), history_after=0.0)
OVER = Ended(state="cancelled", ended_at=5.0)


class Desk:
    """A scheduler's snapshot and journal."""

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring
        self.state = wiring.state
        self.gpus: tuple[Gpu, ...] | None = None
        self.store = Store(self.state)
        self.mono = 0.0
        self.reader = Reader(self.state)
        self.submit(1)
        self.begin()

    def start(self) -> None:
        """As after a restart."""
        self.current.close()
        self.begin()

    def begin(self) -> None:
        self.events = EventWriter(self.wiring)
        self.current = SchedulerState(self.state, CONFIG, at_first=self.events.create)

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
        return [(event["kind"].removeprefix("job_"), event["job"]) for event in self.reader.read() if "job" in event]

    def machine(self) -> list[str]:
        """The kinds of all events of the machine."""
        return [event["kind"] for event in Reader(self.state).read() if "job" not in event]

    def work(self, later: float = 0.0) -> None:
        """As the scheduler does in a tick."""
        self.mono += later
        self.current.catch_up()
        self.events.tell(self.current, self.gpus, AdminState(), self.now)
        self.current.archive(self.now)

    @property
    def now(self) -> Moment:
        return Moment(100.0 + self.mono, self.mono, "b")


@pytest.fixture
def desk(wiring: Wiring) -> Iterator[Desk]:
    pulses = Pulses([MANAGER, "scheduler", "gpu_poller"])
    pulses.set(Pulse(MANAGER, pid=1))
    made = Desk(replace(wiring, config=CONFIG, pulses=pulses))
    yield made
    made.current.close()
    os.close(pulses.fd)


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
    told = [event["id"] for event in Reader(desk.state).read() if "job" in event]
    assert told == ["1-2", "2-1", "2-2"], "the daemon is the same"


def test_a_first_scheduler_that_is_killed_before_it_tells_anything_loses_nothing(desk: Desk) -> None:
    for _ in range(3):
        desk.start()
    assert desk.tick() == [("submitted", 1)]


def test_a_lost_journal_does_not_tell_old_things_again(desk: Desk) -> None:
    desk.tick()
    desk.end(1)
    Path(desk.state.path(lines.CURRENT)).unlink()
    desk.start()
    assert desk.tick() == []
    desk.submit(2)
    assert desk.tick() == [("submitted", 2)]
    assert desk.reader.lost


def test_what_the_disk_refuses_is_told_later(
    desk: Desk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not archived unsaid, and the tick goes on."""
    write_all = paths.write_all

    def full(fd: int, data: bytes) -> None:
        if os.readlink(f"/proc/self/fd/{fd}") == desk.state.path(lines.CURRENT):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_all(fd, data)

    with monkeypatch.context() as patched:
        patched.setattr(paths, "write_all", full)
        desk.work()
        assert desk.events.retry_at == RETRY
        desk.submit(2)
        desk.work(1.0)
    assert desk.tick(1.0) == [], "not before its time"
    assert desk.tick(RETRY) == [("submitted", 1), ("submitted", 2)]
    assert desk.events.retry_at is None
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    desk.events.close(desk.now)


def test_the_machine_is_told_of(desk: Desk) -> None:
    """A GPU is not gone while it is not known which there are; the daemon is over if all of it ends."""
    gpu = Gpu(index=0, uuid="GPU-a", model="M", memory_mb=1)
    one = Reservation(id=1, user="u", start=1e9, duration=5.0, created_at=1.0, created_by="u", gpus=1)
    desk.tick()
    for desk.gpus in ((gpu,), None, (gpu,)):
        desk.work()
    desk.wiring.pulses.set(Pulse("gpu_poller", pid=5, restarts=1))
    desk.put("reservation", 1, encode(one))
    desk.work()
    assert desk.machine()[-1] == "reservation_made"
    desk.work(PROCESSES_EVERY)
    desk.events.close(desk.now)
    told = ["daemon_started", "gpu_appeared", "reservation_made", "worker_restarted"]
    assert desk.machine() == told
    desk.start()
    desk.work()
    desk.wiring.pulses.announce_end()
    desk.events.close(desk.now)
    assert desk.machine() == [*told, "daemon_stopped"]
    desk.start()
    Path(desk.state.path(lines.CURRENT)).unlink()
    desk.work()
    assert desk.machine() == ["daemon_started", "worker_restarted", "gpu_appeared"]


def test_an_end_that_cannot_be_told_is_no_crash(desk: Desk) -> None:
    desk.events.close(desk.now)
    desk.tick()
    path = Path(desk.state.path(lines.CURRENT))
    path.unlink()
    path.mkdir()
    Path(desk.state.path(lines.OLDER)).mkdir()
    (Path(desk.state.path(lines.OLDER)) / "x").touch()
    desk.wiring.pulses.announce_end()
    desk.events.close(desk.now)


def test_jobs_that_leave_are_forgotten(desk: Desk) -> None:
    desk.end(1)
    assert desk.tick() == [("submitted", 1), ("ended", 1)]
    desk.tick()
    first = json.loads(Path(desk.state.path(lines.CURRENT)).read_bytes().splitlines()[0])
    assert first["checkpoint"]["specs"] == []
    assert first["after"] == "0-0"
    Path(desk.state.path(lines.CURRENT)).unlink()
    desk.submit(2)
    assert desk.tick() == [("submitted", 2)]
    first = json.loads(Path(desk.state.path(lines.CURRENT)).read_bytes().splitlines()[0])
    assert first["checkpoint"]["over"] == []
