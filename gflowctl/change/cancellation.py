"""What cancelling does to a job, whoever asks for it."""

from __future__ import annotations

from gflowctl.change import wishes
from gflowctl.view import jobs
from gflowd.core.job.model import Queued, Stopping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflowctl.view import views
    from gflowd.core.job.model import Job, Wish


def cancelled(view: views.View, job: Job, *, is_alone: bool) -> Wish | str:
    """The wish, or why there is nothing to do. `is_alone`: the job is a run whose series goes on."""
    if job.wish.only_run and isinstance(job.phase, Queued) and not is_alone:
        return job.wish.replace(only_run=False)  # now its series ends with it
    if view.has_ended(job.id):
        return f"has already ended ({jobs.state(job)})"
    if job.wish.cancelled_at is not None:
        return "is already being cancelled"
    goes_on = job.spec.retry is not None or job.wish.requeued
    if isinstance(job.phase, Stopping) and not goes_on:
        return f"is already being stopped ({job.phase.why})"
    return wishes.cancelled(job.wish, view.context.user, only_run=is_alone)
