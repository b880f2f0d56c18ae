"""How and when a job is warned and ended: the stop ladder and the time limit, on the monotonic clock. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowd.core.job import reasons

if TYPE_CHECKING:
    from gflowd.core.execution.observations import LiveJob

EARLY, INT, TERM, KILL = "early", "INT", "TERM", "KILL"
KILL_AGAIN = 0.25  # seconds: the first repetition of KILL; each later one waits twice as long
KILL_AGAIN_AT_MOST = 5.0
UNKILLABLE_AFTER = 60.0  # seconds of KILL

LEADER_SPARED = 2.0  # seconds of KILL for the others before `job.sh` itself is killed

Step = tuple[str, float]  # signal, and the time at which it is due


def deadline(job: LiveJob, boot: str) -> float | None:
    """When the time limit of a running job passes, for which pauses do not count; None for one without, not running,
    suspended, or of another boot.
    """
    if job.why is not None or job.suspended or job.started is None or job.time_limit is None:
        return None
    if job.started.identity.boot != boot:
        return None
    return job.started.mono + job.pauses.seconds + job.time_limit


def warning(job: LiveJob, boot: str) -> float | None:
    """When its early signal is due; None if `deadline` is, or without such a signal."""
    limit = deadline(job, boot)
    return None if limit is None or job.early_signal is None else limit - job.early_signal.before


def steps(job: LiveJob) -> tuple[Step, ...]:
    """The rungs of a stopping job: INT, after half the grace TERM, after the grace KILL.

    Strays get no INT; what takes more memory than it may is killed at once.
    """
    since, kill = job.since_mono, (KILL, killed_from(job))
    if kill[1] <= since:
        return (kill,)
    if job.why == reasons.STRAYS:
        return (TERM, since), kill
    return (INT, since), (TERM, since + job.grace / 2), kill


def continued(count: int) -> str:
    """The step by which a run goes on after so many pauses."""
    return f"CONT.{count}"


def killed_from(job: LiveJob) -> float:
    """When a stopping job is first sent KILL."""
    return job.since_mono if job.why == reasons.OUT_OF_MEMORY else job.since_mono + max(job.grace, 0.0)


def spares_leader(job: LiveJob, mono: float) -> bool:
    """Whether `job.sh`, which has the exit status to record, is still to be left alone."""
    return mono < killed_from(job) + LEADER_SPARED


def is_unkillable(job: LiveJob, mono: float) -> bool:
    """Whether a stopping job has outlived a minute of KILL."""
    return job.why is not None and mono >= killed_from(job) + UNKILLABLE_AFTER
