"""Writes `observed.json`, by which gflowctl sees the live world: at most once a second, and only what has changed.

No decision depends on it, and a full disk only makes it old; the next id in it is asked for if the snapshot is lost.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import orjson

from gflowd import __version__, log
from gflowd.config import notification_targets
from gflowd.core.cluster.remote_observations import Sights
from gflowd.core.job import reasons
from gflowd.core.job.model import Stopping
from gflowd.core.metrics.duration_meter import Meters
from gflowd.core.planning import unsuspension

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gflowd.config.loader import Config
    from gflowd.core.gpu.device import Gpu
    from gflowd.core.gpu.states import Picture
    from gflowd.core.job.model import Job, Run
    from gflowd.core.moment import Moment
    from gflowd.core.planning.capacity import Capacity
    from gflowd.core.planning.reservations import Window
    from gflowd.core.queue.job_queue import JobQueue
    from gflowd.workers.base import Wiring

INTERVAL = 1.0  # seconds
OVERDUE = 10.0  # seconds by which a start that was expected may be late before another is looked for


@dataclass(frozen=True, slots=True)
class Waiting:
    """The reasons of queued jobs, in order. `line`: the basis of their places, for `gflowctl show`."""

    reasons: dict[int, str]
    line: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps the scheduler from starting jobs, and, by worker, those that only serve people from their work; why
    the GPUs of a daemon for many users are open to others though they are not to be; what was seen on clusters, and
    what is told of each.
    """

    scheduler: str | None = None
    services: Mapping[str, str | None] = field(default_factory=dict)
    open_gpus: str | None = None
    sights: Sights = field(default_factory=Sights)
    clusters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Status:
    """The state at one moment, in the form of the file: every field is JSON. Memory in MiB, times
    in seconds since the epoch; ids of jobs that are keys are text.
    """

    capacity: dict[str, int | None]  # `gpus` is None before the first poll
    used: dict[str, int]
    gpus: list[dict[str, Any]]
    gpu_trouble: str | None
    reasons: dict[str, str]
    line: dict[str, Any]
    next_id: int  # the next job's, needed only if the snapshot is lost
    reservations: list[dict[str, Any]]  # the current or next windows
    trouble: str | None
    service_troubles: Mapping[str, str | None]  # by worker
    clusters: dict[str, Any]  # by name: what is known of each
    open_gpus: str | None


def status(
    job_queue: JobQueue,
    waiting: Waiting,
    capacity: Capacity,
    picture: Picture,
    windows: Sequence[Window],
    next_id: int,
    stuck: tuple[tuple[int, int], ...],
    trouble: Trouble,
) -> Status:
    """The current status; `stuck` are the attempts that survive KILL."""
    used_cpus = used_memory = 0
    why = {str(job_id): reason for job_id, reason in waiting.reasons.items()}
    for job in job_queue.live.values():
        if job.run is not None and job.run.cluster is not None:
            why |= _there(job, job.run, trouble)
            continue
        used_cpus += job.cpus
        used_memory += job.spec.memory_mb or 0
        if isinstance(job.phase, Stopping):
            is_stuck = (job.id, job.phase.run.attempt) in stuck
            why[str(job.id)] = reasons.UNKILLABLE if is_stuck else job.phase.why
        elif unsuspension.is_wanted(job):
            why[str(job.id)] = reasons.RESOURCES
    return Status(
        capacity={
            "gpus": None if capacity.gpus is None else len(capacity.gpus),
            "cpus": capacity.cpus,
            "memory_mb": capacity.memory_mb,
        },
        used={"cpus": used_cpus, "memory_mb": used_memory},
        gpus=[_gpu(gpu, picture) for gpu in picture.gpus or ()],
        gpu_trouble=picture.trouble,
        reasons=why,
        line=waiting.line,
        next_id=next_id,
        reservations=[window.fields() for window in windows],
        trouble=trouble.scheduler,
        service_troubles=trouble.services,
        clusters=trouble.clusters,
        open_gpus=trouble.open_gpus,
    )


def _there(job: Job, run: Run, trouble: Trouble) -> dict[str, str]:
    """The reason of a job that a cluster has."""
    sight = trouble.sights.of((job.id, run.attempt))
    if run.cluster not in trouble.clusters:
        found: str | None = reasons.CLUSTER_UNKNOWN
    elif run.cluster in trouble.sights.unreachable:
        found = reasons.CLUSTER_UNREACHABLE
    elif isinstance(job.phase, Stopping):
        found = job.phase.why
    else:
        found = None if sight is None else sight.reason
    return {} if found is None else {str(job.id): found}


class ObservedWriter:
    """Remembers what was last written, and when. `due_at`: when it may be written again (monotonic)."""

    def __init__(
        self, wiring: Wiring, executor: str, memory_limits: str = "watch", meters: Meters | None = None
    ) -> None:
        self._state = wiring.state
        self._log = log.get("scheduler")
        self._constant = _constant(wiring, executor, memory_limits)
        self._meters = meters or Meters()
        self._written: Status | None = None
        self._written_at = float("-inf")
        self._is_old = False
        self._first_expected = float("inf")  # wall time

    @property
    def due_at(self) -> float:
        return self._written_at + INTERVAL

    def is_news(self, status: Status) -> bool:
        """Whether the file has different content, or does not exist yet."""
        return status != self._written

    def is_outdated(self, now: Moment) -> bool:
        """Whether a job was expected to start by now and has not, or what was written of it would be other."""
        return now.wall > self._first_expected + OVERDUE

    def write(self, status: Status, expected: Mapping[int, float], now: Moment) -> bool:
        """Writes the file, with the `expected` starts of queued jobs (wall time); returns whether that worked."""
        self._written_at = now.mono
        told = {each.name: getattr(status, each.name) for each in fields(status)}
        starts = {str(job_id): round(at, 3) for job_id, at in expected.items()}
        whole = {"at": now.wall, **self._constant, **told, "expected": starts, "meters": self._meters.fields()}
        try:
            self._state.replace_told(self._state.observed, orjson.dumps(whole), durable=False, names_no_work=True)
        except OSError as error:
            if not self._is_old:
                self._log.warning("observed.json is old", why=error.strerror)
            self._is_old = True
            return False
        self._written, self._is_old = status, False
        self._first_expected = min(starts.values(), default=float("inf"))
        return True


def _mail(config: Config) -> dict[str, Any]:
    """By which gflowctl knows at submission that a mail would not leave."""
    transport = notification_targets.transport(config)
    return {"enabled": config.notify_enabled, "host": transport.host, "sendmail": transport.sendmail}


def _constant(wiring: Wiring, executor: str, memory_limits: str) -> dict[str, Any]:
    """The values that are constant in this process."""
    config = wiring.config
    return {
        "version": __version__,
        "pid": wiring.supervisor,
        "runtime_dir": wiring.runtime.root,
        "executor": executor,
        "memory_limits": memory_limits,
        "enforce_gpus": config.shared_enforce_gpus if wiring.state.shared and config.simulate is None else None,
        "config": {
            "path": config.path.encode(errors="replace").decode(),
            "mtime_ns": config.mtime_ns,
            "lock_timeout": config.lock_timeout,
            "timezone": config.timezone,
            "tz": os.environ.get("TZ"),
            "known_projects": config.known_projects,
            "require_project": config.require_project,
            "quotas": config.quotas,
            "clusters": [*config.clusters],
            "gpu_allow": config.gpu_allow,
            "gpu_allow_by": config.gpu_allow_by,
            "grace": config.grace,
            "start_grace": config.start_grace,
            "promise_after": config.promise_after,
            "promise_within": config.promise_within,
            "mail": _mail(wiring.config),
        },
    }


def _gpu(gpu: Gpu, picture: Picture) -> dict[str, Any]:
    state, cause = picture.states[gpu.index]
    processes = [_by_name(process.fields()) for process in gpu.processes]
    shown = {"state": state, "cause": cause, "jobs": picture.held.get(gpu.index, [])}
    return {**_by_name(gpu.fields()), "processes": processes, **shown}


def _by_name(fields: dict[str, object]) -> dict[str, object]:
    """In the order in which `gflowctl info --json` shows them."""
    return dict(sorted(fields.items()))
