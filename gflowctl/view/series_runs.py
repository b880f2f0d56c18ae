"""The runs of series, each a job of its own: which of them a user means by a series, and when the next ones come."""

from __future__ import annotations

from gflowd.core.job.model import Queued
from gflowd.core.job.records import PHASE, SPEC, WISH, is_queued

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gflowctl.view.views import View
    from gflowd.core.job.model import Job

ALL, NEXT = "all", "next"  # the runs that have not ended; the last of these, which has yet to start while there is one
TOLD = 3  # times


def by_series(view: View, which: str = NEXT) -> dict[int, list[int]]:
    """Of each series that goes on the runs that have not ended, ascending; for `ALL` also one that is `followed`."""
    found: dict[int, list[int]] = {}
    also = followed(view) if which == ALL else frozenset()
    for job_id, raw in sorted(view.fold.of(SPEC).items()):
        if raw.get("repeat") is not None and (job_id in also or not view.has_ended(job_id)):
            found.setdefault(raw["repeat"].get("series") or job_id, []).append(job_id)
    return found


def followed(view: View) -> frozenset[int]:
    """The queued runs that are cancelled alone, as long as the daemon, which lets another follow, has not seen that."""
    phases = view.fold.of(PHASE)
    wishes = view.fold.of(WISH).items()
    return frozenset(job_id for job_id, raw in wishes if raw.get("only_run") and is_queued(phases.get(job_id)))


def meant(found: dict[int, list[int]], ids: Iterable[int], which: str) -> list[int]:
    """`ids`, with a series replaced by the runs that are meant by it."""
    every: dict[int, None] = {}
    for job_id in ids:
        theirs = found.get(job_id, [job_id])
        every.update(dict.fromkeys(theirs if which == ALL else theirs[-1:]))
    return list(every)


def select(view: View, texts: Sequence[str], which: str | None) -> tuple[list[int], set[int]]:
    """The ids that JOBS arguments name, with a series replaced by `which` of its runs, unless that is None; and the
    series that were named.
    """
    if which is None or not view.has_series:
        return view.select(texts), set()
    found = by_series(view, which)
    ids = view.select(texts, found)
    return meant(found, ids, which), found.keys() & set(ids)


def with_runs(view: View, texts: Sequence[str]) -> list[int]:
    """The ids that JOBS arguments name, each series followed by its runs that have not ended."""
    if not view.has_series:
        return view.select(texts)
    found = by_series(view)
    ids = view.select(texts)
    return list(dict.fromkeys(each for job_id in ids for each in (job_id, *found.get(job_id, ()))))


def next_of(view: View, job: Job) -> Job | None:
    """The run of the job's series that has yet to start; None when the series is over, or the job is of none."""
    if job.series is None:
        return None
    theirs = by_series(view).get(job.series)
    last = view.job(theirs[-1]) if theirs else None
    return last if last is not None and isinstance(last.phase, Queued) else None


def times(coming: Job) -> list[float]:
    """When the run that has yet to start begins, and when the next ones, as far as this is known."""
    repeat = coming.spec.repeat
    if repeat is None:
        return []
    from gflowd.core.execution import recurring_series

    begin_at = repeat.due if coming.begin_at is None else coming.begin_at
    return [begin_at, *recurring_series.times(repeat, max(begin_at, repeat.due), TOLD - 1)]
