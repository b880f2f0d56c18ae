"""All metrics with their values, from what is known of the daemon, the machine and the jobs. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from gflowd.core.accounting import ended_totals as totals
from gflowd.core.accounting.ended_totals import ENDS, GPU_TIME, SECOND, Spread, Tally
from gflowd.core.job.model import ENDED_STATES, STATES
from gflowd.core.metrics import catalogue, duration_meter
from gflowd.core.metrics.unended_jobs import LiveJob, Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from gflowd.core.metrics.catalogue import Metric

    Labels = tuple[str, ...]
    Samples = Iterator[tuple[str, Labels, "float | Histogram | None"]]

MIB = 1 << 20
GPU_STATES = ("idle", "busy", "shared", "unmanaged", "reserved", "restricted", "drained", "faulty")


class Process(NamedTuple):
    """A process of the daemon. `beat_at`: when it last sent a heartbeat (seconds since the epoch), None if never."""

    name: str
    is_up: bool
    beat_at: float | None
    restarts: int


@dataclass(frozen=True, slots=True)
class Daemon:
    """The daemon while it runs."""

    version: str
    started_at: float | None
    processes: Sequence[Process] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What the daemon last saw and when, as `observed.json` has it; memory in MiB. `troubles`: what keeps which part of
    the daemon from its work.
    """

    at: float
    capacity: Mapping[str, int | None]
    used: Mapping[str, int]
    gpus: Sequence[Mapping[str, Any]]
    meters: Mapping[str, Any]
    troubles: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Values:
    """All that is known; None: not known. `tally`: of all jobs that ever ended. `snapshot` and `history`: bytes."""

    daemon: Daemon | None = None
    seen: Seen | None = None
    standing: Standing = field(default_factory=Standing)
    tally: Tally | None = None
    snapshot: int | None = None
    history: int | None = None


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many there were up to each of the `bounds` and in all, and their sum."""

    bounds: Sequence[float]
    counts: Sequence[int]
    total: float


class Family(NamedTuple):
    """A metric with its samples: the values of its labels, then its own."""

    metric: Metric
    samples: list[tuple[Labels, float | Histogram]]


def families(values: Values, names: str = catalogue.NOBODY) -> list[Family]:
    """Those that have a value, in the order of the catalogue. `names`: whose names are given."""
    found: dict[str, list[tuple[Labels, float | Histogram]]] = {}
    for part in (_daemon(values), _jobs(values), _tally(values.tally, values.standing), _machine(values)):
        for name, labels, value in part:
            if value is not None:
                found.setdefault(name, []).append((labels, value))
    return [Family(metric, found[metric.name]) for metric in catalogue.given(names) if metric.name in found]


def _daemon(values: Values) -> Samples:
    daemon, seen = values.daemon, values.seen
    yield "gflow_up", (), float(daemon is not None)
    yield "gflow_snapshot_size_bytes", (), values.snapshot
    yield "gflow_history_size_bytes", (), values.history
    if daemon is None:
        return
    yield "gflow_build", (daemon.version,), 1.0
    yield "gflow_start_timestamp_seconds", (), daemon.started_at
    for process in daemon.processes:
        yield "gflow_worker_up", (process.name,), float(process.is_up)
        yield "gflow_worker_heartbeat_timestamp_seconds", (process.name,), process.beat_at
        yield "gflow_worker_restarts", (process.name,), process.restarts
    if seen is not None:
        yield "gflow_observed_timestamp_seconds", (), seen.at
        for part, trouble in seen.troubles.items():
            yield "gflow_trouble", (part,), float(trouble is not None)
        for name, told in seen.meters.items():
            yield (
                f"gflow_{name}_seconds",
                (),
                Histogram(duration_meter.BOUNDS, tuple(accumulate(told["counts"])), told["total"]),
            )


def _jobs(values: Values) -> Samples:
    standing = values.standing
    for state in STATES:
        if state not in ENDED_STATES:
            number = sum(count for (*_, each), count in standing.states.items() if each == state)
            yield "gflow_jobs", (state,), number
    for reason, number in sorted(standing.waiting.items()):
        yield "gflow_jobs_waiting", (reason,), number
    yield "gflow_jobs_oldest_timestamp_seconds", (), standing.oldest
    gpus: dict[tuple[str, str], int] = {}
    for key, number in sorted(standing.states.items()):
        yield "gflow_user_jobs", key, number
        gpus[key[:2]] = 0
    for job in standing.live:
        gpus[job.user, job.project] += job.gpus
        yield "gflow_job", (str(job.id), job.name, job.user, job.project, job.state), 1
        yield "gflow_job_gpus", (str(job.id),), job.gpus
        yield "gflow_job_start_timestamp_seconds", (str(job.id),), job.started_at
    for owner, number in gpus.items():
        yield "gflow_user_gpus", owner, number
    yield from _clusters([job for job in standing.live if job.cluster is not None])


def _clusters(there: Sequence[LiveJob]) -> Samples:
    """Of jobs that clusters have."""
    for labels, number in sorted(Counter((job.cluster or "", job.state) for job in there).items()):
        yield "gflow_cluster_jobs", labels, number
    for name in sorted({job.cluster or "" for job in there}):
        yield "gflow_cluster_gpus", (name,), sum(job.gpus for job in there if job.cluster == name)


def _tally(tally: Tally | None, standing: Standing) -> Samples:
    if tally is None:
        return
    yield "gflow_jobs_submitted", (), tally.sum(totals.JOBS) + standing.states.total()
    yield "gflow_job_gpu_seconds", (), tally.sum(GPU_TIME) / SECOND
    yield "gflow_job_wait_seconds", (), _histogram(tally.waits)
    for labels, each in _ordered(tally, "state", "reason"):
        yield "gflow_attempts_ended", labels, each.sum(ENDS)
    for labels, each in _ordered(tally, "state"):
        yield "gflow_job_run_seconds", labels, _histogram(each.runs)
    for labels, each in _ordered(tally, "user", "project", "state"):
        yield "gflow_user_attempts_ended", labels, each.sum(ENDS)
    for labels, each in _ordered(tally, "user", "project"):
        yield "gflow_user_gpu_seconds", labels, each.sum(GPU_TIME) / SECOND


def _machine(values: Values) -> Samples:
    """Nothing while the daemon is down: nobody looks."""
    seen = values.seen
    if seen is None or values.daemon is None:
        return
    held = sum(1 for gpu in seen.gpus if gpu.get("jobs"))
    yield "gflow_gpus", (), seen.capacity.get("gpus")
    yield "gflow_gpus_allocated", (), None if seen.capacity.get("gpus") is None else held
    yield "gflow_cpus", (), seen.capacity.get("cpus")
    yield "gflow_cpus_allocated", (), seen.used.get("cpus")
    yield "gflow_memory_bytes", (), _bytes(seen.capacity.get("memory_mb"))
    yield "gflow_memory_allocated_bytes", (), _bytes(seen.used.get("memory_mb"))
    for gpu in seen.gpus:
        yield from _gpu(gpu)


def _gpu(gpu: Mapping[str, Any]) -> Samples:
    index, utilisation = (str(gpu["index"]),), gpu.get("utilisation")
    simulated = "true" if gpu.get("simulated") else "false"
    yield "gflow_gpu", (*index, gpu.get("uuid", ""), gpu["model"], simulated), 1
    for state in GPU_STATES:
        yield "gflow_gpu_state", (*index, state), float(gpu.get("state") == state)
    yield "gflow_gpu_jobs", index, len(gpu.get("jobs") or ())
    yield "gflow_gpu_utilization_ratio", index, None if utilisation is None else utilisation / 100
    yield "gflow_gpu_memory_bytes", index, _bytes(gpu["memory_mb"])
    yield "gflow_gpu_memory_used_bytes", index, _bytes(gpu.get("used_mb"))
    yield "gflow_gpu_temperature_celsius", index, gpu.get("temperature")
    yield "gflow_gpu_memory_errors", index, gpu.get("ecc", 0)


def _ordered(tally: Tally, *names: str) -> Iterable[tuple[Labels, Tally]]:
    return sorted(tally.total(*names).items())


def _histogram(spread: Spread) -> Histogram:
    return Histogram(totals.BOUNDS, spread.counts, spread.total / SECOND)


def _bytes(mib: int | None) -> int | None:
    return None if mib is None else mib * MIB
