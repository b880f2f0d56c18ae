"""What Slurm calls the states of jobs, and the reasons for them."""

from __future__ import annotations

from gflowd.core.errors import Refused
from gflowd.core.job import reasons
from gflowd.core.job.model import (
    CANCELLED,
    ENDED_STATES,
    FAILED,
    FINISHED,
    HELD,
    QUEUED,
    RUNNING,
    STARTING,
    STOPPING,
    SUSPENDED,
    TIMEOUT,
)

SHORT = {  # of all of Slurm's states, in its order
    "PENDING": "PD", "RUNNING": "R", "SUSPENDED": "S", "COMPLETED": "CD", "CANCELLED": "CA", "FAILED": "F",
    "TIMEOUT": "TO", "NODE_FAIL": "NF", "PREEMPTED": "PR", "BOOT_FAIL": "BF", "DEADLINE": "DL", "OUT_OF_MEMORY": "OOM",
    "COMPLETING": "CG", "CONFIGURING": "CF", "RESIZING": "RS", "RESV_DEL_HOLD": "RD", "REQUEUED": "RQ",
    "REQUEUE_FED": "RF", "REQUEUE_HOLD": "RH", "REVOKED": "RV", "SIGNALING": "SI", "SPECIAL_EXIT": "SE",
    "STAGE_OUT": "SO", "STOPPED": "ST",
}  # fmt: skip
ORDER = {state: place for place, state in enumerate(SHORT)}
OVER = frozenset(
    ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY")
)
WITH_REASON = frozenset(("PENDING", "FAILED", "TIMEOUT", "NODE_FAIL", "DEADLINE", "OUT_OF_MEMORY"))  # not their nodes
NONE = "None"  # no reason

_PLAIN = {
    QUEUED: "PENDING", HELD: "PENDING", STARTING: "CONFIGURING", RUNNING: "RUNNING", SUSPENDED: "SUSPENDED",
    STOPPING: "COMPLETING", FINISHED: "COMPLETED", FAILED: "FAILED", CANCELLED: "CANCELLED", TIMEOUT: "TIMEOUT",
}  # fmt: skip
_BY_REASON = {reasons.OUT_OF_MEMORY: "OUT_OF_MEMORY", reasons.ZOMBIE: "NODE_FAIL", reasons.DEADLINE: "DEADLINE"}
_ACCOUNTED = {"CONFIGURING": "RUNNING", "COMPLETING": "RUNNING"}  # what the accounting does not distinguish
_REASONS = {  # by gflow's, without what follows a colon; others are the same
    reasons.RETRY_DELAY: "BeginTime",
    reasons.DRAINED: "ReqNodeNotAvail",
    reasons.GROUP: "JobArrayTaskLimit",
    reasons.QUOTA: "AssociationResourceLimit",
    reasons.NEVER: "BadConstraints",
    reasons.GPU_UNAVAILABLE: "Resources",
    reasons.SCHEDULING: NONE,
    reasons.NON_ZERO_EXIT: "NonZeroExitCode",
    reasons.ZOMBIE: "NodeDown",
    reasons.DEADLINE: "DeadLine",
    reasons.CANCELLED_BY_USER: NONE,
    "DependencyFailed": "DependencyNeverSatisfied",
    "LaunchFailed": "JobLaunchFailure",
    "Rejected": "BadConstraints",
}
_SIGNALS = {  # as strsignal(3) calls those that end jobs
    1: "Hangup", 2: "Interrupt", 3: "Quit", 4: "Illegal instruction", 6: "Aborted", 7: "Bus error",
    8: "Floating point exception", 9: "Killed", 10: "User defined signal 1", 11: "Segmentation fault",
    12: "User defined signal 2", 13: "Broken pipe", 14: "Alarm clock", 15: "Terminated",
    24: "CPU time limit exceeded", 25: "File size limit exceeded",
}  # fmt: skip
_WHOLE_REASONS = {reasons.NEVER_QUOTA: "AssociationResourceLimit", reasons.NEVER_RESERVATION: "Reservation"}


def name(state: str, why: str | None) -> str:
    """Slurm's long name of a state of gflow's; `why` is the reason of one that has ended."""
    return _BY_REASON.get(why or "", _PLAIN[state]) if state in ENDED_STATES else _PLAIN[state]


def accounted(state: str) -> str:
    """As sacct(1) has a long name."""
    return _ACCOUNTED.get(state, state)


def reason(state: str, why: str | None) -> str:
    """Slurm's name for a reason of gflow's; `state` is the long name."""
    if why is None or (state not in WITH_REASON and state != "CANCELLED"):
        return NONE
    short = reasons.name(why)
    if short == "Signaled":
        return f"RaisedSignal:{_number(why)}"
    return _WHOLE_REASONS.get(why) or _REASONS.get(short, short)


def _number(why: str) -> str:
    """`9(Killed)` of `Signaled:SIGKILL`."""
    from gflowd.core.syntax import signal_names

    called = why.partition(":")[2]
    try:
        number = signal_names.number(called)
    except ValueError:  # a record of another version
        return called
    return f"{number}({_SIGNALS.get(number, called)})"


def parse(text: str) -> frozenset[str] | None:
    """The long names of states that a list names, short or long, in any case; None for all. Raises `Refused`."""
    found = set()
    longs = {short: state for state, short in SHORT.items()}
    for word in filter(None, map(str.strip, text.upper().split(","))):
        if word == "ALL":
            return None
        state = longs.get(word, word)
        if state not in SHORT:
            raise Refused(f"Invalid job state specified: {word}; valid are {','.join(SHORT)}")
        found.add(state)
    return frozenset(found)
