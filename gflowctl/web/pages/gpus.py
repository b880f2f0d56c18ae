"""The GPUs: what they are and do now, which jobs held them, and their load while the page watched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gflowctl.machine import gpus as gpu_records
from gflowctl.machine import reservations as reserving
from gflowctl.view import jobs
from gflowctl.web import gpu_samples
from gflowctl.web.chart import THINNEST, Bar, Scale, merged
from gflowctl.web.pages.frame import Page, Query, one
from gflowd.core.job.model import Begun, Ended
from gflowd.core.job.records import PHASE, RESERVATION, has_ended, is_live
from gflowd.core.planning import reservations
from gflowd.core.syntax import memory
from gflowd.storage.history_queries import Choice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowctl.view.views import View
    from gflowctl.web.gpu_samples import GpuSamples
    from gflowd.core.job.model import Job
    from gflowd.storage.observed_reader import SeenGpu

RANGES = {"1h": 3600, "6h": 6 * 3600, "24h": 86400, "7d": 7 * 86400}
USUAL = "6h"
STEPS = 300  # points of a curve at most
FRAGMENTS = ("gpus",)


@dataclass(frozen=True, slots=True)
class Lane:
    """One GPU: what it is now, and the bars and curves of its past. A curve is the points of a polyline."""

    gpu: dict[str, Any]
    bars: list[Bar]
    load: list[str]
    memory: list[str]


def brief(view: View, gpu: SeenGpu) -> dict[str, Any]:
    """One GPU in a few words."""
    idle = gpu_records.idle_jobs(gpu, view.observed.reasons)
    holders = [{"label": _label(view, job_id), "idle": job_id in idle} for job_id in gpu.jobs]
    is_marked = gpu.simulated and "imulated" not in gpu.model
    return {
        "index": gpu.index, "model": gpu.model.removeprefix("NVIDIA ") + (" (simulated)" if is_marked else ""),
        "state": gpu.state, "cause": gpu.cause or "", "load": gpu.utilisation, "temperature": gpu.temperature,
        "used": memory.about(gpu.used_mb), "memory": memory.about(gpu.memory_mb),
        "share": round(100 * gpu.used_mb / gpu.memory_mb) if gpu.memory_mb else 0,
        "jobs": holders,
        "strangers": [
            f"pid {process.pid} of {process.user}{' (graphics)' if process.graphics else ''}"
            for process in gpu.processes if process.job_id is None
        ],
    }  # fmt: skip


def _label(view: View, job_id: int) -> str:
    return jobs.label(view.job(job_id)) if view.knows(job_id) else str(job_id)


def build(view: View, query: Query, samples: GpuSamples) -> Page:
    """`range`: how far back."""
    chosen = one(query, "range") if one(query, "range") in RANGES else USUAL
    scale = Scale(view.now - RANGES[chosen], view.now)
    if scale.begin < view.now - RANGES[USUAL] and view.has_history:
        view.recall(Choice(since=scale.begin))
    bars = _bars(view, scale)
    every, tz, clock = reservations.decode_all(view.records.of(RESERVATION)), view.context.calendar, view.clock
    kept = {
        index: reserving.brief(*both, view.now, clock)
        for index, both in reserving.by_gpu(every, view.now, tz).items()
    }  # fmt: skip
    lanes = [
        Lane(
            {**brief(view, gpu), "reserved": kept.get(gpu.index, "")},
            merged(bars.get(gpu.index, []), "jobs"),
            *_curves(samples, gpu.index, scale),
        )
        for gpu in view.observed.gpus
    ]
    values = {
        "lanes": lanes, "axis": scale.axis(clock), "ranges": list(RANGES), "range": chosen,
        "since": clock.near(samples.since, view.now), "is_partly": samples.since > scale.begin,
        "from": clock.near(scale.begin, view.now), "watched": scale.x(samples.since),
    }  # fmt: skip
    return Page("gpus", "GPUs", "gpus", values, FRAGMENTS)


def _bars(view: View, scale: Scale) -> dict[int, list[Bar]]:
    """By GPU the jobs that held it, as far as they are known."""
    found: dict[int, list[Bar]] = {}
    for job, end, since, ids in _held(view, scale.begin):
        ran = "runs" if isinstance(job.phase, Begun) and end >= view.now else jobs.state(job)
        name, label = jobs.name(job), jobs.label(job)
        when = f"{view.clock.near(since, view.now)} to {'now' if end >= view.now else view.clock.near(end, view.now)}"
        x = scale.x(since)
        bar = Bar(
            x, max(THINNEST, round(scale.x(end) - x, 3)), f"b-{jobs.state(job)}", f"{label} {name}",
            f"job {label} ({name}) of {job.spec.user}, {ran}, {when}", f"/jobs/{label}",
        )  # fmt: skip
        for index in ids:
            found.setdefault(index, []).append(bar)
    return found


def _held(view: View, begin: float) -> Iterator[tuple[Job, float, float, tuple[int, ...]]]:
    """Jobs with the end and the beginning of the time for which they had GPUs; earlier attempts too."""
    for job_id, raw in view.records.of(PHASE).items():
        is_over = has_ended(raw)
        if not (is_live(raw) or is_over) or (is_over and raw.get("ended_at", 0.0) < begin):
            continue
        job = view.job(job_id)
        phase = view.past(job_id, jobs.attempt(job)) if is_over else job.phase
        run = getattr(phase, "run", None)
        if run is not None and run.gpu_ids:
            end = phase.ended_at if isinstance(phase, Ended) else view.now
            yield job, end, run.launched_at, run.gpu_ids
        for number in range(1, jobs.attempt(job)):
            past = view.past(job_id, number)
            if past is not None and past.run is not None and past.run.gpu_ids and past.ended_at >= begin:
                yield job, past.ended_at, past.run.launched_at, past.run.gpu_ids


def _curves(samples: GpuSamples, index: int, scale: Scale) -> tuple[list[str], list[str]]:
    found = gpu_samples.runs(samples.of(index, scale.begin))
    load = [points([(scale.x(each.at), each.load) for each in run if each.load is not None]) for run in found]
    used = [points([(scale.x(each.at), each.memory) for each in run]) for run in found]
    return [each for each in load if each], [each for each in used if each]


def points(found: list[tuple[float, float]]) -> str:
    """Of many only some: `x,y x,y`, y from 0 at the bottom to 100 as the share grows. A single one becomes a dash."""
    step = max(1, -(-len(found) // STEPS))
    kept = found[::step] + (found[-1:] if (len(found) - 1) % step else [])
    if len(kept) == 1:
        kept.append((min(100.0, kept[0][0] + THINNEST), kept[0][1]))
    return " ".join(f"{x:.2f},{100 * (1 - min(1.0, y)):.1f}" for x, y in kept)
