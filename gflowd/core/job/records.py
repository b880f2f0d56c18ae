"""The kinds of records in the snapshot, and what undecoded records say about a job: decoding costs
more, and most questions concern very many jobs.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

HEADER = "header"  # the format of the file, and which machine it is of
SPEC = "spec"  # by the id of a job, or of the first of an array
WISH, PHASE = "wish", "phase"  # by the id of a job
ATTEMPT = "attempt"  # by `42.1`: how an earlier attempt ended
LIMIT = "limit"  # by the id of an array: how many of its jobs run at a time
PROMISE = "promise"  # by the id of a job
USAGE, RUNS = "usage", "runs"  # by user: for fair share; by group of similar jobs: how long they ran
QUOTA, RESERVATION, SETTING = "quota", "reservation", "setting"
SCHEDULER = "scheduler"  # which scheduler may write
ANSWERED = "answered"  # by a user's id and their word for a request to the gateway: that it was answered of late
KINDS = (
    HEADER, SPEC, WISH, PHASE, ATTEMPT, LIMIT, PROMISE, USAGE, RUNS, QUOTA, RESERVATION, SETTING, SCHEDULER,
    ANSWERED,
)  # fmt: skip

LONGEST_ID = 15  # digits of a job's id
LARGEST_ID = 10**LONGEST_ID - 1
PROVISIONAL = 1 << 40  # the first id of new jobs in a request, until they get their own; the others follow it

# Phases, by the word that their records have for them.
QUEUED, STARTING, RUNNING, STOPPING, ENDED = "queued", "starting", "running", "stopping", "ended"
SUSPENDED = "suspended"
LIVE = (STARTING, RUNNING, SUSPENDED, STOPPING)


def phase_name(phase: Mapping[str, Any] | None) -> str:
    """The name of a phase; a job without a record is queued."""
    return QUEUED if phase is None else phase["is"]


def is_queued(phase: Mapping[str, Any] | None) -> bool:
    """Whether a job waits, the first time or again."""
    return phase is None or phase["is"] == QUEUED


def is_live(phase: Mapping[str, Any] | None) -> bool:
    """Whether a job has resources."""
    return phase is not None and phase["is"] in LIVE


def has_ended(phase: Mapping[str, Any] | None) -> bool:
    """Whether the last attempt is over, or the job was cancelled before its first one."""
    return phase is not None and phase["is"] == ENDED


def attempt_of(phase: Mapping[str, Any]) -> int:
    """The attempt in the record of a phase with a run, or of one that ended without a run."""
    return int((phase.get("run") or phase).get("attempt", 1))


def is_wanted_again(ended: Mapping[str, Any], wish: Mapping[str, Any] | None) -> bool:
    """Whether an ended job was requeued (`gflowctl requeue`) and the daemon has not seen this yet."""
    return wish is not None and wish.get("requeued", 0) >= attempt_of(ended) and wish.get("cancelled_at") is None


def may_go_on(ended: Mapping[str, Any], wish: Mapping[str, Any] | None) -> bool:
    """Whether an ended job may still change: it was ever requeued, or it left processes."""
    return (wish is not None and "requeued" in wish) or ended.get("lingers", False)


def is_over(phase: Mapping[str, Any] | None, wish: Mapping[str, Any] | None) -> bool:
    """Whether a job is over for good."""
    return phase is not None and phase["is"] == ENDED and not may_go_on(phase, wish)


def is_settled(phase: Mapping[str, Any] | None, wish: Mapping[str, Any] | None) -> bool:
    """Whether a job has ended and is not wanted again, or was cancelled while queued."""
    if phase is not None and phase["is"] != QUEUED:
        return phase["is"] == ENDED and not is_wanted_again(phase, wish)
    return wish is not None and wish.get("cancelled_at") is not None
