"""When a job has run for as long as it may, and when it is warned of that, on the monotonic clock. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gflowd.core.execution.observations import LiveJob


def deadline(job: LiveJob, boot: str) -> float | None:
    """When the time limit of a running job passes, for which pauses do not count; None for one without, not running,
    suspended, or of another boot.
    """
    if job.why is not None or job.suspended or job.time_limit is None or not job.runs_in(boot):
        return None
    assert job.started is not None
    return job.started.mono + job.pauses.seconds + job.time_limit


def warning(job: LiveJob, boot: str) -> float | None:
    """When its early signal is due; None if `deadline` is, or without such a signal."""
    limit = deadline(job, boot)
    return None if limit is None or job.early_signal is None else limit - job.early_signal.before
