"""What a job for a cluster cannot ask for."""

from __future__ import annotations

from gflowd.core.job.model import AUTO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflowd.core.job.model import Spec

FOR_ALL_USERS = "a gflowd for all users hands no jobs over to a cluster; use one of your own for that"


def why_not(spec: Spec) -> str | None:
    """Why no cluster can have a job that asks for one; None if one may. What a cluster has, its batch system knows."""
    whole_gpus = "a cluster gives whole GPUs, by number and type; --shared and --gpu-memory are for this machine"
    whole_machine = "--exclusive and --memory all mean this machine; ask a cluster for CPUs and memory by number"
    ways = "--executor and --gpu-prefer are for jobs of this machine, not of a cluster"
    rules = (
        (spec.uid is not None, f"--cluster: {FOR_ALL_USERS}"),
        (spec.relay is not None, "gflowctl run runs a command on this machine; use submit for a cluster"),
        (spec.shared or spec.gpu_memory_mb is not None, whole_gpus),
        (spec.exclusive or spec.all_memory, whole_machine),
        (spec.quiet_limit is not None, "--quiet-limit is kept on this machine only; a job for a cluster has none"),
        (spec.cluster != AUTO and (spec.executor is not None or spec.gpu_prefer), ways),
    )
    return next((why for is_so, why in rules if is_so), None)
