"""Run jobs once more under the same id: stop a running job first, queue an ended one again.

Jobs that depend on the job wait for its new attempt. The run counts as one more attempt, and each attempt keeps its
log. If the job was being cancelled, it no longer is. A job that could no longer end by its --deadline is left alone. To
make a new job with another id, use gflowctl redo.

Name the jobs or choose them by options, which leave out queued jobs. Jobs that have ended are chosen only if --state
says so, e.g. --state failed, and as long as they are not in the history.
"""

from __future__ import annotations

from gflowctl.change import wishes
from gflowctl.options import arguments, selection
from gflowctl.options.selection import LIVE, Selection
from gflowctl.view import jobs, views
from gflowd.core.errors import Refused
from gflowd.core.job.model import ENDED_STATES, Queued

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context
    from gflowd.core.job.model import Job, Wish


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    selection.add(parser, "every job that has started and not ended")
    arguments.add_changed_json(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Writes the wishes."""
    outcome = wishes.apply(context, Selection(args, "requeue", (*LIVE, *ENDED_STATES), usual=LIVE), _requeued)
    wishes.report(args, outcome, ("Requeued", outcome.changed))
    return 0


def _requeued(view: views.View, job: Job) -> Wish | str:
    wanted = job.wish.replace(cancelled_by=None, cancelled_at=None, only_run=False)
    if not isinstance(job.phase, Queued):
        _check_deadline(job, view.now)
        wanted = wanted.replace(requeued=max(job.wish.requeued, jobs.attempt(job)))
    if wanted != job.wish:
        return wanted
    if jobs.is_waiting(job):
        return f"is already {jobs.state(job)}"
    return f"is already waiting to be requeued ({jobs.state(job)})"


def _check_deadline(job: Job, now: float) -> None:
    """Raises `Refused` for one that would be stopped, or lose its outcome, only to be cancelled."""
    if job.spec.deadline is None:
        return
    from gflowd.core.request import validation

    try:
        validation.check_deadline(job.spec, now)
    except Refused as error:
        raise Refused(f"cannot be requeued: {error}") from None
