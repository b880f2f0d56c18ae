"""The machine as gflowd sees it, for `gflowctl info` and for programs: GPUs, what is in use, the daemon."""

from __future__ import annotations

import time

from gflowctl.machine import drain as draining
from gflowctl.machine import gpus as gpu_records
from gflowctl.machine import reservations as reserving
from gflowctl.output import job_counts, render
from gflowctl.view import views
from gflowd.core.job.model import ENDED_STATES, STATES
from gflowd.core.job.records import RESERVATION
from gflowd.core.job.value_base import Value
from gflowd.core.planning import reservations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from gflowctl.context import Context
    from gflowd.core.planning.reservations import Window
    from gflowd.storage.observed_reader import SeenGpu
    from gflowd.storage.record_log import Fold


class Gpu(Value):
    """A GPU as gflowd last saw it, the jobs that leave it idle, and for whom it is reserved by index: now, and next."""

    __slots__ = ("following", "idle_jobs", "present", "seen")

    def __init__(self, seen: SeenGpu, idle_jobs: list[int], present: Window | None, following: Window | None) -> None:
        self.seen: Final = seen
        self.idle_jobs: Final = idle_jobs
        self.present: Final = present
        self.following: Final = following


def gpus(context: Context, fold: Fold, now: float) -> list[Gpu]:
    """Every GPU by index; none while gflowd has not looked."""
    seen, found = context.observed, reservations.decode_all(fold.of(RESERVATION))
    kept, reasons = reserving.by_gpu(found, now, context.calendar), seen.reasons
    return [Gpu(gpu, gpu_records.idle_jobs(gpu, reasons), *kept.get(gpu.index, (None, None))) for gpu in seen.gpus]


def document(context: Context) -> dict[str, Any]:
    """The object of `info --json`."""
    seen = context.observed
    fold, now = context.store.read(), time.time()
    found = reservations.decode_all(fold.of(RESERVATION))
    return {
        "gpus": list(map(_gpu, gpus(context, fold, now))),
        "cpus": {"total": seen.cpus, "used": seen.used_cpus},
        "memory": {"total_mb": seen.memory_mb, "used_mb": seen.used_memory_mb},
        "daemon": {"running": context.daemon_runs, "version": seen.version, "executor": seen.executor},
        "jobs": numbers(context, fold),
        "busy_gpus": job_counts.busy(seen.gpus),
        "seen_at": render.rfc3339(seen.at),
        "reservations": [_window(window) for window in reservations.upcoming(found, now, context.calendar)],
        "gpu_trouble": seen.gpu_trouble,
        "gpus_allowed": gpu_records.Allowed(context).fields(),
        "trouble": seen.trouble,
        "drained": draining.record(draining.of(fold)),
    }


def _gpu(gpu: Gpu) -> dict[str, Any]:
    reserved = {"now": _window(gpu.present), "next": _window(gpu.following)}
    return {**gpu.seen.raw, "idle_jobs": gpu.idle_jobs, "reservation": reserved}


def _window(window: Window | None) -> dict[str, Any] | None:
    if window is None:
        return None
    return {**window.fields(), "start": render.rfc3339(window.start), "end": render.rfc3339(window.end)}


def numbers(context: Context, fold: Fold) -> dict[str, int]:
    """How many jobs that have not ended are in each state."""
    view = views.View(context, fold)
    found = views.numbers(view, [job_id for job_id in view.ids() if not view.has_ended(job_id)])
    return {state: found[state] for state in STATES if state not in ENDED_STATES}
