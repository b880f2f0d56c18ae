"""An array or sweep as a whole, for `gflowctl show`: its make-up, and the states of its named elements."""

from __future__ import annotations

from gflowctl.output import descriptions, render
from gflowctl.view import jobs, reasons, views
from gflowd.core.job import array_ids
from gflowd.core.job.model import FAILURES
from gflowd.core.job.records import PHASE, is_live, is_queued
from gflowd.core.syntax.plurals import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gflowctl.view.views import View
    from gflowd.core.job.model import Job


def lines(view: View, first: Job, explain: Callable[[Job, str], str]) -> Iterator[tuple[str, str]]:
    """What to tell of it, by title; `first` is its first element, `explain` says what a reason means."""
    spec, family, ids = first.spec, first.spec.family, view.ids_of(first.id)
    assert family is not None
    named = array_ids.name(family, first.id, ids)
    yield "Array", str(first.id)
    yield "Name", render.escape(spec.name_template or spec.name)
    yield "User", render.escape(spec.user)
    if spec.project:
        yield "Project", render.escape(spec.project)
    if spec.comment:
        yield "Comment", render.escape(spec.comment)
    yield "Command", render.escape(descriptions.command_line(spec.command))
    if spec.redone_from is not None:
        yield "Redone from", str(spec.redone_from)
    yield "Elements", f"{named}, ids {ids[0]}-{ids[-1]}"
    for axis in family.axes:
        yield "Parameters", f"{', '.join(axis.names)} ({count(len(axis.rows), 'value')})"
    yield "States", ", ".join(views.counts(view, ids))
    waiting = next(map(view.job, (each for each in ids if _waits(view, each))), None)
    if waiting is not None and (why := reasons.reason(view, waiting)):
        yield "Reason", render.escape(explain(waiting, why))
    if (most := view.max_concurrent(first)) is not None:
        yield "Limit", f"{most} at a time"
    if family.max_failures is not None:
        yield "Failures", f"once {family.max_failures} have failed the rest is cancelled"
    running = [view.job(each) for each in ids if is_live(view.records.of(PHASE).get(each))]
    if running:
        yield "Running", jobs.labels(running)
        from gflowctl.output import progress

        yield from progress.of_array(view, running)
    failed = [view.job(each) for each in ids if view.records.of(PHASE).get(each, {}).get("state") in FAILURES]
    if failed:
        yield "Failed", jobs.labels(failed)


def _waits(view: View, job_id: int) -> bool:
    return is_queued(view.records.of(PHASE).get(job_id)) and not view.has_ended(job_id)
