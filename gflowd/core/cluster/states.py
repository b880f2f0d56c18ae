"""From Slurm's words about a job to what gflow knows of an attempt.

Slurm's word counts for how a job was ended by others; how its command ended is told by the exit record that `job.sh`
leaves. After `scancel`, for one, that holds 143.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowd.core.cluster.remote_observations import ENDING, OVER, RUNNING, SUSPENDED, WAITING, End, Sight
from gflowd.core.execution import transitions
from gflowd.core.job import reasons
from gflowd.core.job.model import CANCELLED, FAILED, TIMEOUT, Identity, Started

if TYPE_CHECKING:
    from gflowd.core.execution.observations import Observation
    from gflowd.core.execution.transitions import Verdict

NOT_BEGUN = frozenset(("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "POWER_UP_NODE"))
HELD = frozenset(("REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"))
STAGES = {
    ("RUNNING", "SIGNALING", "STAGE_OUT", "RESIZING"): RUNNING,
    ("SUSPENDED", "STOPPED"): SUSPENDED,
    ("COMPLETING",): ENDING,
}
BY_RECORD = frozenset(("COMPLETED", "FAILED"))
BY_WORD = {
    "CANCELLED": (CANCELLED, reasons.CANCELLED_ELSEWHERE),
    "REVOKED": (CANCELLED, reasons.CANCELLED_ELSEWHERE),
    "TIMEOUT": (TIMEOUT, reasons.TIME_LIMIT),
    "DEADLINE": (TIMEOUT, reasons.TIME_LIMIT),
    "OUT_OF_MEMORY": (FAILED, reasons.OUT_OF_MEMORY),
    "NODE_FAIL": (FAILED, reasons.NODE_FAIL),
    "BOOT_FAIL": (FAILED, reasons.NODE_FAIL),
    "PREEMPTED": (FAILED, reasons.PREEMPTED),
}
REFUSED = "BadConstraints"  # with FAILED: sbatch has refused it, and left a record of it
ANY = "None"  # Slurm's reason where it has none
ENGINE = "slurm"  # in place of a boot id where no `pid` file could be read


@dataclass(frozen=True, slots=True)
class Seen:
    """One job of Slurm's as squeue or sacct shows it."""

    cluster_id: str
    state: str  # PENDING, or `CANCELLED by 1000`
    reason: str = ANY
    node: str | None = None
    started_at: float | None = None
    ended_at: float | None = None


def sight(seen: Seen, written: Observation, *, is_late: bool) -> Sight | None:
    """What is known of an attempt by Slurm and by the files that it has written; None for a word that is not known.

    `is_late`: a missing exit record will not come any more, as it might after a moment on a network's file system.
    """
    word = (seen.state.split() or [""])[0].rstrip("+")
    if word in NOT_BEGUN or word in HELD:
        why = "held" if word in HELD else seen.reason if seen.reason != ANY else word.capitalize()
        return Sight(WAITING, reasons.cluster(why), seen.cluster_id)
    end = _end(word, seen, written) if word in BY_WORD or word in BY_RECORD else None
    if end is not None:
        stage: str | None = ENDING if end.reason == reasons.ZOMBIE and not is_late else OVER
    else:
        stage = next((stage for words, stage in STAGES.items() if word in words), None)
    if stage is None:
        return None
    started = written.started or start_of(seen)
    return Sight(stage, None, seen.cluster_id, seen.node, started, end if stage == OVER else None)


def gone(written: Observation, cluster_id: str | None, now: float) -> Sight:
    """Slurm knows nothing of an attempt any more, as it does some minutes after the end: its own record decides."""
    state, reason, code, signal = transitions.verdict(written)
    at = now if written.ended_at is None else written.ended_at
    end = End(state, reason, at, code, signal, is_own=written.is_recorded)
    return Sight(OVER, None, cluster_id, None, written.started, end)


def refused(text: str) -> Sight:
    """The end of what `sbatch` did not take, and never will."""
    return Sight(OVER, end=End(FAILED, reasons.rejected(" ".join(text.split())[:500] or "sbatch")))


def never_began(at: float) -> Sight:
    """It was to be stopped before it was handed over, and is nowhere."""
    return Sight(OVER, end=End(CANCELLED, reasons.CANCELLED_BY_USER, at))


def start_of(seen: Seen) -> Started | None:
    """The start of an attempt by Slurm's clock, without a process that we could name; None while it has none."""
    if seen.started_at is None:
        return None
    return Started(at=seen.started_at, mono=0.0, identity=Identity(f"{ENGINE}:{seen.cluster_id}", 1, 0))


def _end(word: str, seen: Seen, written: Observation) -> End:
    verdict = transitions.verdict(written)
    *_, code, signal = verdict
    at = seen.ended_at if written.ended_at is None else written.ended_at
    if word in BY_WORD:
        return End(*BY_WORD[word], at, code, signal)
    if seen.reason == REFUSED and not written.is_recorded:
        return End(FAILED, reasons.rejected(REFUSED), at)
    return _by_record(verdict, at, written)


def _by_record(verdict: Verdict, at: float | None, written: Observation) -> End:
    state, reason, code, signal = verdict
    return End(state, reason, at, code, signal, is_own=written.is_recorded)
