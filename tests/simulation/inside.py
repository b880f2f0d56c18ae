"""The one place that knows gflow's workers from within: what of theirs is replaced, and what is read from them.

When something in gflow is renamed, this is the file to mend.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from virtual_clock import Clock
from virtual_effects import Claims, ClockWatch, JobDirs, Launcher, Logs, NoGroups, Processes, Usage
from virtual_gpus import Driver
from virtual_jobs import Jobs

from gflowd import paths
from gflowd.core.gpu.device import Gpu
from gflowd.storage import store
from gflowd.workers import attempt_processes, gpu_poller, reservation_timer
from gflowd.workers.board_slots import Post, Slots
from gflowd.workers.scheduler import gpu_pool
from gflowd.workers.scheduler import worker as scheduler_worker
from gflowd.workers.timeout_enforcer import memory_watch
from gflowd.workers.timeout_enforcer import worker as timeout_enforcer
from gflowd.workers.zombie_detector import worker as zombie_detector


class Killed(BaseException):
    """A worker is ended by SIGKILL at this very point."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a job was promised: `at` in seconds since the epoch, None for unknown; `certain`: it rests on time limits
    alone; `cause`: why it is later than it `was`.
    """

    at: float | None
    certain: bool
    cause: str | None
    was: float | None = None


class Hooks:
    """Called from within the scheduler's tick; each may raise `Killed`."""

    def before_commit(self) -> None: ...
    def before_launch(self) -> None: ...
    def torn(self) -> int | None:
        """How many bytes of the next write still reach the file before the kill; None: it is not killed."""


@contextmanager
def virtual(clock: Clock, jobs: Jobs, seen: Processes, hooks: Hooks) -> Iterator[None]:
    """Replaces what the workers would do to the machine, and nothing of what they decide."""
    directories = JobDirs(jobs)
    commit, write_all = store.Store.commit, paths.write_all

    def watched_commit(self: store.Store, *args: Any, **kwargs: Any) -> store.Commit:
        hooks.before_commit()
        return commit(self, *args, **kwargs)

    def torn_write(fd: int, data: bytes) -> None:
        if (kept := hooks.torn()) is None:
            write_all(fd, data)
        else:
            write_all(fd, data[: kept % len(data)])
            raise Killed

    replaced = [
        (scheduler_worker, "Launcher", lambda *_: Launcher(jobs, hooks.before_launch)),
        (store.Store, "commit", watched_commit),
        (paths, "write_all", torn_write),
        (os, "fdatasync", lambda fd: None),
        (os, "fsync", lambda fd: None),
        (gpu_pool, "Claims", Claims),
        (gpu_poller, "processes", seen),
        (attempt_processes, "processes", seen),
        (attempt_processes, "jobdir", directories),
        (attempt_processes, "cgroups", NoGroups),
        (memory_watch, "processes", seen),
        (memory_watch, "time", SimpleNamespace(monotonic=lambda: clock.mono)),
        (reservation_timer, "ClockWatch", ClockWatch),
        (timeout_enforcer, "processes", seen),
        (timeout_enforcer, "jobdir", directories),
        (timeout_enforcer, "LogLimiter", Logs),
        (timeout_enforcer, "UsageWatch", Usage),
        (zombie_detector, "processes", seen),
        (zombie_detector, "jobdir", directories),
        (zombie_detector, "os", SimpleNamespace(close=seen.close)),
    ]
    with ExitStack() as stack:
        for place, name, substitute in replaced:
            stack.enter_context(patch.object(place, name, substitute))
        yield


OPEN: dict[str, Any] = {
    "scheduler": scheduler_worker.Scheduler,
    "zombie_detector": zombie_detector.ZombieDetector,
    "timeout_enforcer": timeout_enforcer.TimeoutEnforcer,
    "reservation_timer": lambda _: reservation_timer.ReservationTimer(),
}


def opened(name: str, wiring: Any, driver: Driver) -> Any:
    """A new worker."""
    return gpu_poller.GpuPoller(driver, wiring) if name == "gpu_poller" else OPEN[name](wiring)


def discard(worker: Any) -> None:
    """What the kernel does when a worker's process has been killed: its descriptors, and so its locks, are let go."""
    if isinstance(worker, scheduler_worker.Scheduler):
        os.close(worker._alone._fd)
        worker._alone._fd = -1
        worker._state._follower.close()
        worker._state.close()
    if isinstance(worker, zombie_detector.ZombieDetector):
        for watch in worker._watches.values():
            worker._drop_pidfd(watch)


def promises(records: Mapping[int, Any]) -> dict[int, Told]:
    """Whom a start is promised now, by the snapshot's records."""
    return {
        job_id: Told(raw["at"], raw["at"] is not None, raw.get("cause"), raw.get("was"))
        for job_id, raw in records.items()
    }


def seen_gpus(posts: Mapping[str, Post]) -> tuple[Gpu, ...] | None:
    """The GPUs as the last look found them; None while nothing is known of any."""
    report = Slots(posts).gpu_report
    return report.gpus if report.trouble is None else None


def asks_for_look(posts: Mapping[str, Post]) -> bool:
    """Whether the scheduler waits for a look at the GPUs."""
    agenda = Slots(posts).agenda
    return agenda is not None and agenda.poll_after is not None
