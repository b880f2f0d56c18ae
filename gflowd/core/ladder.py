"""How a job is made to end, and when: the stop ladder and the time limit, on the monotonic clock. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowd.core import reasons

if TYPE_CHECKING:
    from gflowd.core.sights import LiveJob

INT, TERM, KILL = "INT", "TERM", "KILL"
KILL_AGAIN = 0.25  # seconds: the first repetition of KILL; each later one waits twice as long
KILL_AGAIN_AT_MOST = 5.0
UNKILLABLE_AFTER = 60.0  # seconds of KILL

Step = tuple[str, float]  # signal, and the time at which it is due


def deadline(job: LiveJob, boot: str) -> float | None:
    """When the time limit of a running job passes; None for one without, not running, or of another boot."""
    if job.why is not None or job.started is None or job.time_limit is None or job.started.identity.boot != boot:
        return None
    return job.started.mono + job.time_limit


def steps(job: LiveJob) -> tuple[Step, ...]:
    """The rungs of a stopping job: INT, after half the grace TERM, after the grace KILL. Strays get no INT."""
    since, grace = job.since_mono, job.grace
    kill = (KILL, since + grace)
    if grace <= 0:
        return (kill,)
    if job.why == reasons.STRAYS:
        return (TERM, since), kill
    return (INT, since), (TERM, since + grace / 2), kill


def is_unkillable(job: LiveJob, mono: float) -> bool:
    """Whether a stopping job has outlived a minute of KILL."""
    return job.why is not None and mono >= job.since_mono + job.grace + UNKILLABLE_AFTER
