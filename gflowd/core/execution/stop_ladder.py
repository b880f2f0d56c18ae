"""How a job is ended: the stop ladder, on the monotonic clock. Pure."""

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


def steps(job: LiveJob) -> tuple[Step, ...]:
    """The rungs of a stopping job: INT, after half the grace TERM, after the grace KILL.

    Strays get no INT, nor does a script written for Slurm, where TERM comes first: bash would die of the INT before its
    trap for TERM could run. What takes more memory than it may is killed at once.
    """
    since, kill = job.since_mono, (KILL, killed_from(job))
    if kill[1] <= since:
        return (kill,)
    if job.slurm or job.why == reasons.STRAYS:
        return (TERM, since), kill
    return (INT, since), (TERM, since + job.grace / 2), kill


def continued(count: int) -> str:
    """The step by which a run goes on after this many pauses."""
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
