"""What Slurm calls gflow's states and reasons."""

from __future__ import annotations

import pytest

from gflowd.core.errors import Refused
from gflowd.core.job.model import STATES
from gflowd.core.slurm import job_states

NAMES = [
    ("queued", None, "PENDING", "None"),
    ("held", "JobHeldUser", "PENDING", "JobHeldUser"),
    ("queued", "RetryDelay", "PENDING", "BeginTime"),
    ("queued", "Group", "PENDING", "JobArrayTaskLimit"),
    ("queued", "Never:Quota", "PENDING", "AssociationResourceLimit"),
    ("queued", "Never:Reservation", "PENDING", "Reservation"),
    ("queued", "Never:memory", "PENDING", "BadConstraints"),
    ("starting", None, "CONFIGURING", "None"),
    ("running", "TerminalInput", "RUNNING", "None"),
    ("suspended", None, "SUSPENDED", "None"),
    ("stopping", "TimeLimit", "COMPLETING", "None"),
    ("finished", None, "COMPLETED", "None"),
    ("failed", "NonZeroExit", "FAILED", "NonZeroExitCode"),
    ("failed", "Signaled:SIGKILL", "FAILED", "RaisedSignal:9(Killed)"),
    ("failed", "Signaled:SIG40", "FAILED", "RaisedSignal:40(SIG40)"),
    ("failed", "Signaled:SIG99", "FAILED", "RaisedSignal:SIG99"),
    ("failed", "LaunchFailed:no tmux", "FAILED", "JobLaunchFailure"),
    ("failed", "OutOfMemory", "OUT_OF_MEMORY", "OutOfMemory"),
    ("failed", "Zombie", "NODE_FAIL", "NodeDown"),
    ("timeout", "TimeLimit", "TIMEOUT", "TimeLimit"),
    ("cancelled", "CancelledByUser", "CANCELLED", "None"),
    ("cancelled", "DependencyFailed:42", "CANCELLED", "DependencyNeverSatisfied"),
    ("cancelled", "Deadline", "DEADLINE", "DeadLine"),
]


@pytest.mark.parametrize(("state", "why", "name", "reason"), NAMES)
def test_states_and_reasons_have_slurms_names(state: str, why: str | None, name: str, reason: str) -> None:
    assert job_states.name(state, why) == name
    assert job_states.reason(name, why) == reason


def test_every_state_is_told_and_accounted() -> None:
    assert {job_states.name(state, None) for state in STATES} <= job_states.SHORT.keys()
    assert [job_states.accounted(state) for state in ("CONFIGURING", "COMPLETING", "FAILED")] == [
        "RUNNING", "RUNNING", "FAILED",
    ]  # fmt: skip


def test_lists_of_states_are_read_in_any_case() -> None:
    assert job_states.parse("pd,Running,OOM") == {"PENDING", "RUNNING", "OUT_OF_MEMORY"}
    assert job_states.parse("R,all") is None
    assert job_states.parse(",") == frozenset()
    with pytest.raises(Refused, match="Invalid job state specified: DONE; valid are PENDING,"):
        job_states.parse("done")
