"""Series in words and as JSON: their rule, and when the next runs come."""

from __future__ import annotations

from gflowctl.output import render
from gflowctl.view import series_runs
from gflowd.core.job.model import QUEUE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from gflowctl.view.views import View
    from gflowd.core.job.model import Job, Repeat
    from gflowd.core.syntax.clocks import Clock

OVERLAP = "a run that is due while another goes on"


def rule(repeat: Repeat) -> str:
    """`daily 02:00 (Europe/Vienna)`."""
    said = repeat.rule if repeat.zone is None else f"{repeat.rule} ({repeat.zone})"
    return render.escape(said)


def dates(coming: Job, clock: Clock) -> str:
    """When the next runs begin: `2026-01-31T02:00:00, 2026-02-01T02:00:00, ...`."""
    return ", ".join([*map(clock.stamp, series_runs.times(coming)), "..."])


def lines(view: View, job: Job) -> Iterator[tuple[str, str]]:
    """What `show` says of the series that a job is a run of."""
    repeat, number = job.spec.repeat, job.series
    if repeat is None or number is None:
        return
    coming = series_runs.next_of(view, job)
    yield "Series", f"{number}, {rule(repeat)}"
    yield "Overlap", f"{OVERLAP} {'waits' if repeat.overlap == QUEUE else 'is skipped'}"
    if coming is None:
        every, queued = series_runs.by_series(view, series_runs.ALL), series_runs.by_series(view)
        is_followed = every.get(number) != queued.get(number)
        yield "Next runs", "known once gflowd has seen a cancellation" if is_followed else "none, the series has ended"
    else:
        which = "this one" if coming.id == job.id else f"job {coming.id}"
        first, *others = map(view.clock.stamp, series_runs.times(coming))
        yield "Next runs", f"{which} at {first}" + (f", then {others[0]}, ..." if others else "")


def values(job: Job) -> dict[str, Any] | None:
    """The series of a job by name, times in seconds since the epoch; None for a job of none."""
    repeat = job.spec.repeat
    if repeat is None:
        return None
    return {
        "series": job.series, "rule": repeat.rule, "timezone": repeat.zone, "overlap": repeat.overlap,
        "due_at": repeat.due,
    }  # fmt: skip


def next_runs(view: View, job: Job) -> list[str | None]:
    """When the next runs of its series begin."""
    coming = series_runs.next_of(view, job)
    return [] if coming is None else [render.rfc3339(at) for at in series_runs.times(coming)]
