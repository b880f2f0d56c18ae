"""Who may do what, in one place for gflowctl and the gateway. Each check raises `Refused` with what the user reads."""

from __future__ import annotations

from gflowd.core.admission.policy import EVERYONE
from gflowd.core.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from gflowd.core.admission.policy import Policy
    from gflowd.core.admission.requester import Requester

# What only operators may do, as it is said after "only operators may".
TOP = "move jobs to the front of the queue"
PRIORITY = "give jobs a priority above {most}"
RAISE_LIMIT = "raise the time limit of a job that has started"
QUOTA = "set quotas"
SETTING = "drain the machine or its GPUs, or change which GPUs are used"
RESERVE = "reserve GPUs"
RESERVE_FOR_OTHERS = "reserve GPUs for others"

# Fields of a spec that say what is run as the job's user, and where that writes: no operator's either, since they could
# act as any user by them.
OF_OWNER = (
    "command", "script", "name", "output", "error", "input", "append", "executor", "conda_env", "asked", "slurm",
    "notify", "notify_email", "notify_on",
)  # fmt: skip


def is_owner(requester: Requester, spec: Mapping[str, Any]) -> bool:
    """Whether the job of this spec record is theirs. By id and name: either may have been given to somebody else."""
    return bool(spec.get("uid") == requester.uid and spec["user"] == requester.name)


def check_owner(requester: Requester, spec: Mapping[str, Any], label: int | str) -> None:
    """Raises `Refused` unless the job is theirs or they are an operator."""
    if not requester.is_operator and not is_owner(requester, spec):
        raise Refused(belongs(label, spec))


def belongs(label: int | str, spec: Mapping[str, Any]) -> str:
    """`job 7 belongs to ada`."""
    return f"job {label} belongs to {spec['user']}"


def check_operator(requester: Requester, act: str) -> None:
    """Raises `Refused` for all others; `act` is one of the words above."""
    if not requester.is_operator:
        raise Refused(f"only operators may {act}")


def check_submit(requester: Requester, policy: Policy) -> None:
    """Raises `Refused` for who may have no jobs."""
    if requester.is_root:
        if not policy.allow_root:
            raise Refused("root may not submit jobs here (allow_root in [shared])")
    elif requester.uid < policy.least_uid:
        raise Refused(f"users with ids below {policy.least_uid} may not submit jobs here (least_uid in [shared])")
    elif not requester.may_submit:
        raise Refused(f"{requester.name} may not submit jobs here (users in [shared])")


def check_priority(requester: Requester, policy: Policy, priority: int) -> None:
    """Raises `Refused` for a priority that is an operator's to give."""
    if priority > policy.top_priority:
        check_operator(requester, PRIORITY.format(most=policy.top_priority))


def check_reserve(requester: Requester, policy: Policy, user: str) -> None:
    """Raises `Refused` for who may not reserve GPUs for `user`."""
    if policy.reserve != EVERYONE:
        check_operator(requester, RESERVE)
    elif user != requester.name:
        check_operator(requester, RESERVE_FOR_OTHERS)
