"""The states of a job as users see them, long and short. `Job.state` in `model` derives them from phase and wish."""

from __future__ import annotations

QUEUED, HELD, STARTING, RUNNING = "queued", "held", "starting", "running"
SUSPENDED, STOPPING = "suspended", "stopping"
FINISHED, FAILED, CANCELLED, TIMEOUT = "finished", "failed", "cancelled", "timeout"
ENDED_STATES = (FINISHED, FAILED, CANCELLED, TIMEOUT)
FAILURES = (FAILED, TIMEOUT)
STATES = (QUEUED, HELD, STARTING, RUNNING, SUSPENDED, STOPPING, *ENDED_STATES)
SHORT_STATES = dict(zip(STATES, ("PD", "H", "CF", "R", "S", "CG", "CD", "F", "CA", "TO"), strict=True))
