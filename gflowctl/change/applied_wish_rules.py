"""The rules of `core.admission.wish_rules` as changes to the jobs of a view: what gflowctl's commands apply."""

from __future__ import annotations

import time

from gflowd.core.admission import wish_rules
from gflowd.core.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflowctl.change.wishes import Change
    from gflowctl.view import views
    from gflowd.core.job.model import Job, Wish


def held(_view: views.View, job: Job) -> Wish | str:
    """A `wishes.Change`: it is not to start."""
    return wish_rules.held(job)


def released(at: float | None) -> Change:
    """It may start, but not before `at`."""
    return lambda view, job: wish_rules.released(job, at, view.now)


def requeued(view: views.View, job: Job) -> Wish | str:
    """A `wishes.Change`: it is to run once more, where it can."""
    wish = wish_rules.requeued(job, view.now)
    if job.spec.cluster is not None and not isinstance(wish, str):
        from gflowctl.submit import cluster_choice

        try:
            cluster_choice.check(job.spec, view.context)
        except Refused as error:
            raise Refused(f"cannot run once more: {error}") from None
    return wish


def put_first(at: float) -> Change:
    """It comes before all others; the last one of which this was said first."""
    return lambda _, job: wish_rules.put_first(job, at)


def suspended(*, releases_cpus: bool) -> Change:
    """It is to stand still, perhaps without its CPUs."""
    return lambda _, job: wish_rules.suspended(job, releases_cpus=releases_cpus)


def going_on(_view: views.View, job: Job) -> Wish | str:
    """A `wishes.Change`: it stands still no longer."""
    return wish_rules.going_on(job)


def cancelled(view: views.View, job: Job, *, is_alone: bool) -> Wish | str:
    """The wish, or why there is nothing to do. `is_alone`: the job is a run whose series goes on."""
    return wish_rules.cancelled(job, view.context.user, time.time(), is_alone=is_alone)
