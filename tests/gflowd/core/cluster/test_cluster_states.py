"""Slurm's words and our exit record, row by row of the table."""

from __future__ import annotations

import pytest

from gflowd.core.cluster import states
from gflowd.core.cluster.remote_observations import ENDING, OVER, RUNNING, SUSPENDED, WAITING, End, Sight, Sights
from gflowd.core.cluster.states import Seen
from gflowd.core.execution.observations import Observation
from gflowd.core.job import reasons
from gflowd.core.job.model import CANCELLED, FAILED, FINISHED, TIMEOUT, Identity, Started

HERE = Started(at=5.0, mono=0.0, identity=Identity("b", 7, 8))
NOTHING = Observation()


def wrote(status: int | None = None, **fields: object) -> Observation:
    return Observation(started=HERE, status=status, ended_at=9.0, **fields)  # type: ignore[arg-type]


def sight(state: str, written: Observation = NOTHING, *, is_late: bool = True, **fields: object) -> Sight | None:
    return states.sight(Seen("12_3", state, **fields), written, is_late=is_late)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "reason", "why"),
    [
        ("PENDING", "Priority", "Cluster:Priority"),
        ("PENDING", "None", "Cluster:Pending"),
        ("CONFIGURING", "None", "Cluster:Configuring"),
        ("REQUEUED", "None", "Cluster:Requeued"),
        ("REQUEUE_HOLD", "job requeued in held state", "Cluster:held"),
        ("SPECIAL_EXIT", "None", "Cluster:held"),
    ],
)
def test_what_waits_there_says_why(state: str, reason: str, why: str) -> None:
    assert sight(state, reason=reason) == Sight(WAITING, why, "12_3")


def test_what_is_at_work_there_has_a_node_and_a_start() -> None:
    assert sight("RUNNING", wrote(), node="n1") == Sight(RUNNING, None, "12_3", "n1", HERE)
    by_slurm = Started(at=4.0, mono=0.0, identity=Identity("slurm:12_3", 1, 0))
    assert sight("SUSPENDED", node="n1", started_at=4.0) == Sight(SUSPENDED, None, "12_3", "n1", by_slurm)
    assert sight("COMPLETING") == Sight(ENDING, None, "12_3")
    assert sight("BRAND_NEW") is None
    assert sight("") is None


@pytest.mark.parametrize(
    ("state", "reason", "written", "end"),
    [
        ("COMPLETED", "None", wrote(0), End(FINISHED, None, 9.0, 0, is_own=True)),
        ("FAILED", "NonZeroExitCode", wrote(7), End(FAILED, "NonZeroExit", 9.0, 7, is_own=True)),
        ("FAILED", "JobLaunchFailure", wrote(130), End(FAILED, "Signaled:SIGINT", 9.0, None, 2, is_own=True)),
        ("FAILED", "None", wrote(137, starved=True), End(FAILED, "OutOfMemory", 9.0, None, 9, is_own=True)),
        ("COMPLETED", "None", wrote(trouble="no x"), End(FAILED, "LaunchFailed:no x", 9.0, is_own=True)),
        ("COMPLETED", "None", NOTHING, End(FAILED, "Zombie", 8.0)),
        ("FAILED", "BadConstraints", NOTHING, End(FAILED, "Rejected:BadConstraints", 8.0)),
        ("FAILED", "BadConstraints", wrote(3), End(FAILED, "NonZeroExit", 9.0, 3, is_own=True)),
        ("CANCELLED by 1000", "None", wrote(143), End(CANCELLED, "CancelledElsewhere", 9.0, None, 15)),
        ("CANCELLED+", "None", NOTHING, End(CANCELLED, "CancelledElsewhere", 8.0)),
        ("TIMEOUT", "TimeLimit", wrote(143), End(TIMEOUT, "TimeLimit", 9.0, None, 15)),
        ("DEADLINE", "None", NOTHING, End(TIMEOUT, "TimeLimit", 8.0)),
        ("OUT_OF_MEMORY", "None", wrote(137), End(FAILED, "OutOfMemory", 9.0, None, 9)),
        ("NODE_FAIL", "None", NOTHING, End(FAILED, "NodeFail", 8.0)),
        ("BOOT_FAIL", "None", NOTHING, End(FAILED, "NodeFail", 8.0)),
        ("PREEMPTED", "None", wrote(143), End(FAILED, "Preempted", 9.0, None, 15)),
    ],
)
def test_an_end_is_by_slurms_word_or_by_our_record(state: str, reason: str, written: Observation, end: End) -> None:
    assert sight(state, written, reason=reason, ended_at=8.0) == Sight(OVER, None, "12_3", None, written.started, end)


def test_a_record_that_is_missing_may_still_come() -> None:
    assert sight("COMPLETED", is_late=False, ended_at=8.0) == Sight(ENDING, None, "12_3")
    assert sight("CANCELLED", is_late=False, ended_at=8.0) == sight("CANCELLED", ended_at=8.0)


def test_what_slurm_has_forgotten_is_as_our_record_has_it() -> None:
    assert states.gone(wrote(0), "12", 50.0).end == End(FINISHED, None, 9.0, 0, is_own=True)
    assert states.gone(NOTHING, None, 50.0).end == End(FAILED, reasons.ZOMBIE, 50.0)


def test_what_was_never_taken_has_an_end_too() -> None:
    assert states.refused("sbatch: error:\n no such\tpartition ").end == End(
        FAILED, "Rejected:sbatch: error: no such partition"
    )
    assert states.refused("").end == End(FAILED, "Rejected:sbatch")
    assert states.never_began(3.0).end == End(CANCELLED, reasons.CANCELLED_BY_USER, 3.0)


def test_a_board_without_sights_knows_nothing() -> None:
    found = Sights(of_attempts={(1, 1): Sight()})
    assert (found.of((1, 1)), found.of((1, 2)), found.of(None)) == (Sight(), None, None)
