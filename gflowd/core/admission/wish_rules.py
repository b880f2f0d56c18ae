"""What a job's wish becomes when it is held, released, requeued and so on, whoever asks for it; or why it does not:
either a sentence without its subject, such as `is already held`, or the same as `Refused` where it cannot be.
"""

from __future__ import annotations

from gflowd.core.errors import Refused
from gflowd.core.job.model import Queued, Running, Starting, Stopping, Suspended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflowd.core.job.model import Job, Wish


def held(job: Job) -> Wish | str:
    """It is not to start."""
    if not job.is_waiting:
        raise Refused(f"is {job.wanted_state}; only queued jobs can be held")
    return "is already held" if job.wish.held else job.wish.replace(held=True)


def released(job: Job, at: float | None, now: float) -> Wish | str:
    """It may start, but not before `at`."""
    if job.is_waiting:
        wish = job.wish.replace(held=False, released_at=now) if job.wish.held else job.wish
        if at is not None:
            return wish.replace(begin_at=at)
        return wish if job.wish.held else "is not held"
    if at is not None:
        raise Refused(f"is {job.wanted_state}; only a queued job has a begin time")
    return f"is not held ({job.wanted_state})"


def requeued(job: Job, now: float) -> Wish | str:
    """It is to run once more."""
    wanted = job.wish.replace(cancelled_by=None, cancelled_at=None, only_run=False)
    if not isinstance(job.phase, Queued):
        _check_deadline(job, now)
        wanted = wanted.replace(requeued=max(job.wish.requeued, job.attempt))
    if wanted != job.wish:
        return wanted
    if job.is_waiting:
        return f"is already {job.wanted_state}"
    return f"is already waiting to be requeued ({job.wanted_state})"


def _check_deadline(job: Job, now: float) -> None:
    """Raises `Refused` for one that would be stopped, or lose its outcome, only to be cancelled."""
    if job.spec.deadline is None:
        return
    from gflowd.core.request import deadlines

    try:
        deadlines.check(job.spec, now)
    except Refused as error:
        raise Refused(f"cannot be requeued: {error}") from None


def put_first(job: Job, at: float) -> Wish:
    """It comes before all others; the last one of which this was said first."""
    if not job.is_waiting:
        raise Refused(f"is {job.wanted_state}; only queued jobs can be moved to the front")
    return job.wish.replace(top_at=at)


def suspended(job: Job, *, releases_cpus: bool) -> Wish | str:
    """It is to stand still, perhaps without its CPUs."""
    if not isinstance(job.phase, Starting | Running | Suspended) or job.wish.cancelled_at is not None:
        raise Refused(f"is {_state(job)}; only running jobs can be suspended")
    if job.run is not None and job.run.cluster is not None:
        raise Refused(f"runs on cluster {job.run.cluster}, where gflow cannot suspend it")
    if not job.is_to_stand_still:
        return job.wish.replace(suspended=job.attempt, releases_cpus=releases_cpus)
    if releases_cpus and not job.wish.releases_cpus:
        return job.wish.replace(releases_cpus=True)
    return "is already suspended"


def _state(job: Job) -> str:
    return "being cancelled" if job.wish.cancelled_at is not None and job.run is not None else job.wanted_state


def going_on(job: Job) -> Wish | str:
    """It stands still no longer."""
    if job.is_to_stand_still:
        return job.wish.replace(suspended=0, releases_cpus=False)
    if isinstance(job.phase, Suspended):
        return "is already to go on"
    return f"is not suspended ({job.wanted_state})"


def cancelled(job: Job, by: str, now: float, *, is_alone: bool) -> Wish | str:
    """It is to end, if it has not. `is_alone`: it is a run whose series goes on."""
    if job.wish.only_run and isinstance(job.phase, Queued) and not is_alone:
        return job.wish.replace(only_run=False)  # now its series ends with it
    if job.is_settled:
        return f"has already ended ({job.wanted_state})"
    if job.wish.cancelled_at is not None:
        return "is already being cancelled"
    goes_on = job.spec.retry is not None or job.wish.requeued
    if isinstance(job.phase, Stopping) and not goes_on:
        return f"is already being stopped ({job.phase.why})"
    return ended(job.wish, by, now, only_run=is_alone)


def ended(wish: Wish, by: str, now: float, *, only_run: bool = False) -> Wish:
    """The wish that a job be cancelled; `only_run`: its series goes on."""
    return wish.replace(cancelled_by=by, cancelled_at=now, requeued=0, only_run=only_run)
