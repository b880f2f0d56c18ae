"""What a job's wish becomes when it is held, released, requeued and so on, whoever asks for it; or why it does not."""

from __future__ import annotations

from gflowctl.change import wishes
from gflowctl.view import jobs
from gflowd.core.errors import Refused
from gflowd.core.job.model import Queued, Running, Starting, Stopping, Suspended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflowctl.change.wishes import Change
    from gflowctl.view import views
    from gflowd.core.job.model import Job, Wish


def held(_view: views.View, job: Job) -> Wish | str:
    """A `wishes.Change`: it is not to start."""
    if not jobs.is_waiting(job):
        raise Refused(f"is {jobs.state(job)}; only queued jobs can be held")
    return "is already held" if job.wish.held else job.wish.replace(held=True)


def released(at: float | None) -> Change:
    """It may start, but not before `at`."""

    def change(view: views.View, job: Job) -> Wish | str:
        if jobs.is_waiting(job):
            wish = job.wish.replace(held=False, released_at=view.now) if job.wish.held else job.wish
            if at is not None:
                return wish.replace(begin_at=at)
            return wish if job.wish.held else "is not held"
        if at is not None:
            raise Refused(f"is {jobs.state(job)}; only a queued job has a begin time")
        return f"is not held ({jobs.state(job)})"

    return change


def requeued(view: views.View, job: Job) -> Wish | str:
    """A `wishes.Change`: it is to run once more."""
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


def put_first(at: float) -> Change:
    """It comes before all others; the last one of which this was said first."""

    def change(_view: views.View, job: Job) -> Wish | str:
        if not jobs.is_waiting(job):
            raise Refused(f"is {jobs.state(job)}; only queued jobs can be moved to the front")
        return job.wish.replace(top_at=at)

    return change


def suspended(*, releases_cpus: bool) -> Change:
    """It is to stand still, perhaps without its CPUs."""

    def change(_view: views.View, job: Job) -> Wish | str:
        if not isinstance(job.phase, Starting | Running | Suspended) or job.wish.cancelled_at is not None:
            raise Refused(f"is {_state(job)}; only running jobs can be suspended")
        if not job.is_to_stand_still:
            return job.wish.replace(suspended=jobs.attempt(job), releases_cpus=releases_cpus)
        if releases_cpus and not job.wish.releases_cpus:
            return job.wish.replace(releases_cpus=True)
        return "is already suspended"

    return change


def _state(job: Job) -> str:
    return "being cancelled" if job.wish.cancelled_at is not None and job.run is not None else jobs.state(job)


def going_on(_view: views.View, job: Job) -> Wish | str:
    """A `wishes.Change`: it stands still no longer."""
    if job.is_to_stand_still:
        return job.wish.replace(suspended=0, releases_cpus=False)
    if isinstance(job.phase, Suspended):
        return "is already to go on"
    return f"is not suspended ({jobs.state(job)})"


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
