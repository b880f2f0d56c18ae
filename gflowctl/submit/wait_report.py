"""Says how awaited jobs ended that did not finish, so that cron mails it."""

from __future__ import annotations

from gflowctl.machine import explanations
from gflowctl.output import render
from gflowctl.view import jobs, reasons, views
from gflowd.core.job.model import CANCELLED, TIMEOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from gflowctl.context import Context
    from gflowd.core.job.model import Job

MOST = 5  # jobs that are named
WORDS = {CANCELLED: "was cancelled", TIMEOUT: "exceeded its time limit"}


def tell(context: Context, ids: Iterable[int]) -> None:
    """A line on stderr for each job that did not finish, up to a number; then how many more."""
    view = views.View(context, context.store.read())
    explainer = explanations.Explainer(view)
    bad = [job_id for job_id in ids if view.knows(job_id) and view.exit_status(job_id)]
    for job_id in bad[:MOST]:
        render.note(_line(view, explainer, view.job(job_id)))
    if len(bad) > MOST:
        render.note(f"... and {len(bad) - MOST} more")


def _line(view: views.View, explainer: explanations.Explainer, job: Job) -> str:
    state, why = jobs.state(job), reasons.reason(view, job)
    said = f"job {jobs.label(job)} ({jobs.name(job)}) {WORDS.get(state, state)}"
    if why is not None:
        said += f": {explainer.words(job, why)}"
    return said if jobs.started_at(job) is None else f"{said}; gflowctl log {jobs.label(job)} shows its output"
