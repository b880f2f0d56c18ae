"""A series: runs of the same job that come again and again, each a job of its own. When the next comes, and as what.

A run is followed by the next when it starts, in the same commit; one that is cancelled alone before that, then. So a
series that goes on has exactly one run that has yet to start. Runs never overlap: the next one waits for the one
before. The times that pass while a run waits are passed by.
"""

from __future__ import annotations

from itertools import islice

from gflowd.core.errors import Refused
from gflowd.core.job.dependencies import AFTERANY, Dependency, Needs
from gflowd.core.job.model import LATEST, SKIP, Ended, Starting
from gflowd.core.syntax import instants, recurrence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gflowd.core.job.model import Job, Phase, Repeat, Spec


def due_after(repeat: Repeat, after: float) -> float | None:
    """The first time later than `after` at which a run is due; None if there is none that a job may begin at. Raises
    `Refused` for a rule that cannot be followed here.
    """
    found = recurrence.following(repeat.rule, repeat.due, after, instants.zone(repeat.zone))
    return None if found is None or found > LATEST else found


def times(repeat: Repeat, after: float, count: int) -> list[float]:
    """The next few times; none where the rule cannot be followed here."""

    def found() -> Iterator[float]:
        at = due_after(repeat, after)
        while at is not None:
            yield at
            at = due_after(repeat, at)

    try:
        return list(islice(found(), count))
    except Refused:
        return []


def why_not(spec: Spec) -> str | None:
    """Why the run that follows one with this spec cannot be found, e.g. because a package is missing."""
    if spec.repeat is None:
        return None
    try:
        due_after(spec.repeat, spec.repeat.due)
    except Refused as error:
        return str(error)
    return None


def following(job: Job, phases: Sequence[Phase]) -> Spec | None:
    """The spec of the run that follows a queued `job`, if it is a run of a series and these phases let it begin, or end
    alone before that. All that was changed in this run stays changed.
    """
    repeat, after = job.spec.repeat, phases[-1]
    if repeat is None or why_not(job.spec) is not None:
        return None
    if isinstance(after, Starting) and after.run.attempt == 1:
        needs: Needs | None = Needs(dependencies=(Dependency(kind=AFTERANY, id=job.id),))
        now = after.run.launched_at
        passed = repeat.due  # a run that was let begin early is the one that was due then
    elif isinstance(after, Ended) and after.last_attempt == 1 and job.wish.only_run:
        now, needs = after.ended_at, job.spec.needs
        passed = max(repeat.due, repeat.due if job.begin_at is None else job.begin_at)
    else:
        return None
    due = due_after(repeat, max(passed, now))
    if due is None:
        return None
    return job.spec.replace(
        submitted_at=now,
        begin_at=due,
        needs=needs,
        repeat=repeat.replace(due=due, series=job.series),
        append=job.spec.append or (job.spec.output or job.spec.error) is not None,  # the first run emptied the files
        batch=None,
    )


def put_off(job: Job, ended_at: float | None, now: float) -> float | None:
    """When a queued run that is due shall begin instead, as the one before was still going then; None: it may begin.
    `ended_at`: when the one before ended; None: it goes on.
    """
    repeat, due = job.spec.repeat, job.begin_at
    if repeat is None or repeat.overlap != SKIP or due is None or due > now:
        return None
    if ended_at is not None and ended_at <= due:
        return None
    try:
        return due_after(repeat, now if ended_at is None else ended_at)
    except Refused:
        return None
