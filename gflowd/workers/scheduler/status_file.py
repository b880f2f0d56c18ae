"""Writes `observed.json`, by which gflowctl sees the live world: at most once a second, and only what has changed.

Nothing depends on it: the daemon never reads it back, and a full disk only makes it old.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from gflowd import __version__, log, paths
from gflowd.core.job import reasons
from gflowd.core.job.model import Stopping

if TYPE_CHECKING:
    from collections.abc import Callable

    from gflowd.core.gpu.device import Gpu
    from gflowd.core.gpu.states import Picture
    from gflowd.core.moment import Moment
    from gflowd.core.planning.capacity import Capacity
    from gflowd.core.planning.reservations import Window
    from gflowd.core.queue.job_queue import JobQueue
    from gflowd.workers.base import Wiring

INTERVAL = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Waiting:
    """Of queued jobs the reasons, in order, and when they are expected to start (wall time). `line`: what their places
    rest on, for `gflowctl show`.
    """

    reasons: dict[int, str]
    expected: Callable[[], dict[int, float]]  # costs more than the rest, and is asked only for what is written
    line: dict[str, Any] = field(default_factory=dict)


class StatusFile:
    """Remembers what was last written, and when. `reserved`: the windows of reservations that are now or next;
    `next_id`: the next job's, which no one reads but who has lost the snapshot.
    """

    def __init__(self, wiring: Wiring, executor: str, memory_limits: str = "watch") -> None:
        self._wiring = wiring
        self._executor = executor
        self.reserved: list[Window] = []
        self.next_id = 1
        self._memory_limits = memory_limits
        self._log = log.get("scheduler")
        self._noted: dict[str, Any] = {}
        self._expected: Callable[[], dict[int, float]] = dict
        self._written: dict[str, Any] | None = None
        self._written_at = float("-inf")
        self._is_old = False

    def note(
        self,
        job_queue: JobQueue,
        waiting: Waiting,
        capacity: Capacity,
        picture: Picture,
        stuck: tuple[tuple[int, int], ...],
        trouble: str | None,
    ) -> None:
        """Takes in what is so now; `stuck` are the attempts that outlive KILL."""
        used_cpus = used_memory = 0
        why = {str(job_id): reason for job_id, reason in waiting.reasons.items()}
        for job in job_queue.live.values():
            used_cpus += job.spec.cpus
            used_memory += job.spec.memory_mb or 0
            if isinstance(job.phase, Stopping):
                is_stuck = (job.id, job.phase.run.attempt) in stuck
                why[str(job.id)] = reasons.UNKILLABLE if is_stuck else job.phase.why
        self._noted = {
            "capacity": {
                "gpus": None if capacity.gpus is None else len(capacity.gpus),
                "cpus": capacity.cpus,
                "memory_mb": capacity.memory_mb,
            },
            "used": {"cpus": used_cpus, "memory_mb": used_memory},
            "gpus": [_gpu(gpu, picture) for gpu in picture.gpus or ()],
            "gpu_trouble": picture.trouble,
            "reasons": why,
            "line": waiting.line,
            "next_id": self.next_id,
            "reservations": [window.fields() for window in self.reserved],
            "trouble": trouble,
        }
        self._expected = waiting.expected

    def is_due(self, now: Moment) -> bool:
        """Whether it is time to take note again."""
        return now.mono >= self._written_at + INTERVAL

    def write(self, now: Moment) -> float | None:
        """Writes what changed, if a second has passed; else the monotonic time at which to come back."""
        if not self.is_due(now):
            return self._written_at + INTERVAL
        if self._noted == self._written:
            return None
        self._written_at = now.mono
        expected = {str(job_id): round(at, 3) for job_id, at in self._expected().items()}
        whole = {"at": now.wall, **self._constant(), **self._noted, "expected": expected}
        try:
            paths.replace_file(self._wiring.state.observed, orjson.dumps(whole), durable=False)
        except OSError as error:
            if not self._is_old:
                self._log.warning("observed.json is old", why=error.strerror)
            self._is_old = True
            return self._written_at + INTERVAL
        self._written, self._is_old = self._noted, False
        return None

    def _constant(self) -> dict[str, Any]:
        config = self._wiring.config
        return {
            "version": __version__,
            "pid": self._wiring.supervisor,
            "runtime_dir": self._wiring.runtime.root,
            "executor": self._executor,
            "memory_limits": self._memory_limits,
            "config": {
                "path": config.path.encode(errors="replace").decode(),
                "mtime_ns": config.mtime_ns,
                "lock_timeout": config.lock_timeout,
                "timezone": config.timezone,
                "known_projects": config.known_projects,
                "require_project": config.require_project,
                "quotas": config.quotas,
                "grace": config.grace,
                "start_grace": config.start_grace,
                "promise_after": config.promise_after,
                "promise_within": config.promise_within,
            },
        }


def _gpu(gpu: Gpu, picture: Picture) -> dict[str, Any]:
    state, cause = picture.states[gpu.index]
    processes = [process.fields() for process in gpu.processes]
    shown = {"state": state, "cause": cause, "jobs": picture.held.get(gpu.index, [])}
    return {**gpu.fields(), "processes": processes, **shown}
