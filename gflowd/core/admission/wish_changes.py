"""Whether a job's wish may become another: only what somebody could ask for by gflowctl, and in these steps."""

from __future__ import annotations

from gflowd.core.admission import wish_rules
from gflowd.core.errors import Refused
from gflowd.core.job.model import Queued

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflowd.core.job.model import Job, Wish

# Who did it and when is nobody's to say.
STAMPS = ("cancelled_by", "cancelled_at", "released_at", "top_at")


def asks_to_be_first(job: Job, wanted: Wish) -> bool:
    """Whether it is to be moved to the front of the queue."""
    return wanted.top_at not in (None, job.wish.top_at)


def judged(job: Job, wanted: Wish, by: str, now: float) -> Wish:
    """The wish of `job` as it is written when the user `by` wants `wanted`, whatever that says of who and when. Raises
    `Refused` with a sentence without its subject.
    """
    made = _ended_or_again(job, wanted, by, now)
    at = job.replace(wish=made)
    if made.requeued > job.wish.requeued:  # what else is wished is for the attempt that follows
        at = at.replace(phase=Queued(attempt=job.attempt + 1))
    if wanted.held != made.held:
        made = _taken(wish_rules.held(at) if wanted.held else wish_rules.released(at, None, now))
        at = at.replace(wish=made)
    if wanted.begin_at != made.begin_at:
        if not at.is_waiting:
            raise Refused(f"is {at.wanted_state}; only a queued job has a begin time")
        made = made.replace(begin_at=wanted.begin_at)
    if (wanted.suspended, wanted.releases_cpus) != (made.suspended, made.releases_cpus):
        stands = wanted.suspended
        found = wish_rules.suspended(at, releases_cpus=wanted.releases_cpus) if stands else wish_rules.going_on(at)
        made = made.replace(suspended=_taken(found).suspended, releases_cpus=_taken(found).releases_cpus)
    if asks_to_be_first(at, wanted):
        made = made.replace(top_at=wish_rules.put_first(at, now).top_at)
    for name in made.__slots__:
        if name not in STAMPS and getattr(made, name) != getattr(wanted, name):
            raise Refused(f"cannot have {name} set to {getattr(wanted, name)} now")
    return made


def _ended_or_again(job: Job, wanted: Wish, by: str, now: float) -> Wish:
    """The wish with what `wanted` says of being cancelled and of running again."""
    before = job.wish
    if wanted.cancelled_at is None:
        if before.cancelled_at is None and wanted.requeued == before.requeued:
            return before
        return _taken(wish_rules.requeued(job, now))
    if before.cancelled_at is None:
        if wanted.only_run and job.series is None:
            raise Refused("is no run of a series")
        return _taken(wish_rules.cancelled(job, by, now, is_alone=wanted.only_run))
    if before.only_run and not wanted.only_run and isinstance(job.phase, Queued):
        return _taken(wish_rules.cancelled(job, by, now, is_alone=False))
    return before


def _taken(found: Wish | str) -> Wish:
    if isinstance(found, str):
        raise Refused(found)
    return found
