"""Why a job waits or ended, when it is expected to start, and its place in line, from the snapshot and the daemon."""

from __future__ import annotations

from gflowctl.view import jobs
from gflowd.core.job.model import Ended, Queued, Starting, Stopping, Suspended
from gflowd.core.job.reasons import (
    BEGIN_TIME,
    CANCELLED_BY_USER,
    CLUSTER_UNREACHABLE,
    DAEMON_DOWN,
    DEPENDENCY,
    HELD_BY_USER,
    IDLE_GPUS,
    NO_OUTPUT,
    PRIORITY,
    RESOURCES,
    RETRY_DELAY,
    SCHEDULING,
    TERMINAL_INPUT,
)
from gflowd.core.job.records import PROMISE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflowctl.view.views import View
    from gflowd.core.job.model import Job

OVERDUE = 60.0  # seconds: a start that was expected longer ago is not expected any more
MANY = 100  # reasons: below this the daemon omits only those of jobs it has not looked at yet


def reason(view: View, job: Job) -> str | None:
    """The reason of the job's state; None if there is none, or it is not known."""
    if isinstance(job.phase, Ended):
        return job.phase.reason
    told = view.told_of(job)
    if isinstance(job.phase, Stopping):
        return told or job.phase.why
    if isinstance(job.phase, Queued):
        return _waits_for(view, job, told)
    if job.phase.run.cluster is not None:
        return told if isinstance(job.phase, Starting) or told == CLUSTER_UNREACHABLE else None
    return _of_running(view, job, told)


def _of_running(view: View, job: Job, told: str | None) -> str | None:
    if isinstance(job.phase, Suspended):
        return RESOURCES if told == RESOURCES and not job.is_to_stand_still else None
    if view.waits_for_input(job):
        return TERMINAL_INPUT
    return told if told in (IDLE_GPUS, NO_OUTPUT) else None  # a running job no longer has the reason it had before


def _waits_for(view: View, job: Job, told: str | None) -> str | None:
    if job.wish.cancelled_at is not None:
        return CANCELLED_BY_USER
    if job.wish.held:
        return HELD_BY_USER
    if job.begin_at is not None and job.begin_at > view.now:
        is_retry = isinstance(job.phase, Queued) and job.phase.begin_at == job.begin_at and job.phase.attempt > 1
        return RETRY_DELAY if is_retry else BEGIN_TIME
    if view.daemon_runs and told is not None:
        return told
    if not _needs_are_met(view, job):
        return DEPENDENCY
    return DAEMON_DOWN if not view.daemon_runs else PRIORITY if _is_beyond(view, job) else SCHEDULING


def _is_beyond(view: View, job: Job) -> bool:
    """Whether the daemon has seen it, but gave reasons only for others, ahead of it."""
    return len(view.reasons) >= MANY and (view.observed.at or 0.0) > job.spec.submitted_at


def _needs_are_met(view: View, job: Job) -> bool:
    if job.spec.needs is None:
        return True
    from gflowctl.view import dependencies

    return dependencies.are_met(view, job)


def expected_start(view: View, job: Job) -> float | None:
    """When a queued job is expected to start, or its latest promised start; None if not known."""
    estimated = estimated_start(view, job)
    return promised_start(view, job) if estimated is None else estimated


def estimated_start(view: View, job: Job) -> float | None:
    """When a queued job is expected to start: at its begin time, or when the daemon last expected it to; None if it did
    not say, or if that has long passed.
    """
    if not jobs.is_waiting(job):
        return None
    if job.begin_at is not None and job.begin_at > view.now:
        is_run = job.spec.repeat is not None  # what it waits for is expected to have ended by then
        return job.begin_at if not job.wish.held and (is_run or _needs_are_met(view, job)) else None
    expected = view.expected_starts.get(job.id) if view.daemon_runs else None
    return None if expected is None or expected < view.now - OVERDUE else max(expected, view.now)


def promised_start(view: View, job: Job) -> float | None:
    """The latest promised start of a queued job; None without a promise, or without a time."""
    promised = promise(view, job)
    at: float | None = None if promised is None else promised["at"]
    return at


def promise(view: View, job: Job) -> dict[str, Any] | None:
    """The record of a queued job's promise."""
    if not jobs.is_waiting(job):
        return None
    found: dict[str, Any] | None = view.records.of(PROMISE).get(job.id)
    return found


def order(view: View) -> list[int]:
    """The jobs in line, first to start first, with the first element of each array; as far as the daemon said."""
    return view.observed.line.order


def rank(view: View, job: Job) -> int | None:
    """The place in line of a queued job, from 1; None if the daemon did not say."""
    if not view.daemon_runs or not jobs.is_waiting(job):
        return None
    return view.ranks.get(job.id)
