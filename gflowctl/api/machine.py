"""What programs are told of the machine: GPUs, reservations, sums, and why jobs wait for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gflowctl.api import values
from gflowctl.machine import drain, overview
from gflowctl.machine import gpus as gpu_records
from gflowctl.machine import reservations as reserving
from gflowctl.output import job_counts
from gflowctl.view import reasons
from gflowd.core.errors import BadUsage
from gflowd.core.job.records import RESERVATION
from gflowd.core.planning import reservations as reserved

if TYPE_CHECKING:
    from gflowctl.view.views import View
    from gflowd.core.job.model import Job


def why(view: View, job: Job) -> str | None:
    """As `Queue.why`: the reason, and what `show` says of the job's place in line."""
    from gflowctl.machine import explanations
    from gflowctl.output import place_in_line

    found = reasons.reason(view, job)
    lines = [] if found is None else [explanations.Explainer(view).words(job, found)]
    if reasons.rank(view, job) is not None:
        lines += [f"{key}: {text}" for key, text in place_in_line.lines(view, job)]
    return "\n".join(lines) or None


def gpus(view: View) -> list[values.Gpu]:
    """As `Queue.gpus`."""
    return list(map(_gpu, overview.gpus(view.context, view.fold, view.now)))


def _gpu(gpu: overview.Gpu) -> values.Gpu:
    seen = gpu.seen
    return values.Gpu(
        index=seen.index,
        uuid=seen.uuid,
        model=seen.model,
        memory_mb=seen.memory_mb,
        used_mb=seen.used_mb,
        utilisation=seen.utilisation,
        temperature=seen.temperature,
        state=seen.state,
        cause=seen.cause,
        fault=seen.fault,
        jobs=tuple(seen.jobs),
        idle_jobs=tuple(gpu.idle_jobs),
        processes=tuple(
            values.Process(each.pid, each.user, each.memory_mb, each.job_id, each.graphics) for each in seen.processes
        ),
        links=tuple(seen.links),
        simulated=seen.simulated,
        reserved=_window(gpu.present),
        reserved_next=_window(gpu.following),
    )


def _window(window: reserved.Window | None) -> values.Window | None:
    if window is None:
        return None
    return values.Window(window.id, window.user, window.start, window.end, window.gpus, window.gpu_list)


def machine(view: View) -> values.Machine:
    """As `Queue.machine`."""
    seen, drained = view.observed, drain.of(view.fold)
    allowed = gpu_records.Allowed(view.context).gpus
    return values.Machine(
        daemon_running=view.daemon_runs,
        version=seen.version,
        executor=seen.executor,
        seen_at=seen.at,
        cpus=seen.cpus,
        used_cpus=seen.used_cpus,
        memory_mb=seen.memory_mb,
        used_memory_mb=seen.used_memory_mb,
        gpus=seen.gpu_count,
        busy_gpus=job_counts.busy(seen.gpus),
        gpus_allowed=None if allowed is None else tuple(allowed),
        gpu_trouble=seen.gpu_trouble,
        trouble=seen.trouble,
        drained=None if drained is None else values.Drain(drained["at"], drained["by"], drained.get("reason")),
    )


def reservations(view: View) -> list[values.Reservation]:
    """As `Queue.reservations`."""
    found = reserved.decode_all(view.fold.of(RESERVATION))
    return [_reservation(view, one) for one in found]


def _reservation(view: View, one: reserved.Reservation) -> values.Reservation:
    raw = reserving.values(one, view.now, view.context.calendar)
    window = raw["window"] and (raw["window"]["start"], raw["window"]["end"])
    return values.Reservation(**{**raw, "window": window})


def statistics(view: View, users: tuple[str, ...] | None, since: float | None, by: str | None) -> values.Statistics:
    """As `Queue.statistics`."""
    from gflowctl.machine import job_statistics
    from gflowd.core.accounting import statistics as sums

    if by not in (None, sums.USER, sums.PROJECT, sums.DAY):
        raise BadUsage(f"by: {by!r} is none of {sums.USER}, {sums.PROJECT} and {sums.DAY}")
    now = time.time()
    calendar = sums.Calendar(view.context.clock.zone)
    found = job_statistics.accounts(view.context, view.fold, users or (), since, now) if users != () else iter(())
    tallies, hours = sums.tallied(found, by, calendar, since or 0.0, now)
    summaries = {name: tallies[name].summary() for name in sorted(tallies)}
    if by is None:
        summaries = summaries or {"": sums.Tally().summary()}
    groups = tuple(
        values.Group(name if by else None, **job_statistics.record(summary)) for name, summary in summaries.items()
    )
    return values.Statistics(since, now, by, groups, {day: hours[day] for day in sorted(hours)})
