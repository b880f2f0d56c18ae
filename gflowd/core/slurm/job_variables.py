"""The variables that sbatch(1) gives to the script of a job on one node, and to no other job: all of them or none. MPI
libraries and others take the presence of one for a promise of its companions.
"""

from __future__ import annotations

from gflowd.core.errors import Refused
from gflowd.core.job import array_task
from gflowd.core.job.value_base import Value
from gflowd.core.slurm import site
from gflowd.core.syntax import memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from gflowd.core.job.model import Job, Run, Spec
    from gflowd.core.slurm.sbatch_options import Option

PID = "SLURM_TASK_PID"  # known only when the script's process is there

# Variables that are set only where an option is given, to its value; SLURM_ before each.
OF_OPTIONS = {
    "cpus-per-gpu": "CPUS_PER_GPU", "dependency": "JOB_DEPENDENCY", "distribution": "DISTRIBUTION",
    "export": "EXPORT_ENV", "gpu-bind": "GPU_BIND", "gpu-freq": "GPU_FREQ", "gpus": "GPUS",
    "gpus-per-node": "GPUS_PER_NODE", "gpus-per-task": "GPUS_PER_TASK", "hint": "HINT", "mem-per-cpu": "MEM_PER_CPU",
    "mem-per-gpu": "MEM_PER_GPU", "ntasks-per-core": "NTASKS_PER_CORE", "ntasks-per-gpu": "NTASKS_PER_GPU",
    "ntasks-per-socket": "NTASKS_PER_SOCKET", "overcommit": "OVERCOMMIT", "profile": "PROFILE",
    "reservation": "JOB_RESERVATION", "threads-per-core": "THREADS_PER_CORE",
}  # fmt: skip


class Host(Value):
    """The machine and the user as a job finds them: its node's name, and the ids of the user and of its group."""

    __slots__ = ("gid", "node", "uid")

    def __init__(self, *, node: str, uid: int, gid: int) -> None:
        self.node: Final = node
        self.uid: Final = uid
        self.gid: Final = gid


def kept(asked: Sequence[Option]) -> tuple[str, ...]:
    """Of the options of a script those that variables tell of, `NAME=VALUE` each, as a spec keeps them; of one that is
    given twice the last.
    """
    values = {option.name: option.value or "1" for option in asked if option.name in OF_OPTIONS}
    return tuple(f"{name}={value}" for name, value in values.items())


def of_job(job: Job, run: Run, host: Host) -> dict[str, str]:
    """The variables by name, but for those of an array, which every array has."""
    spec = job.spec
    asked = dict(word.split("=", 1) for word in spec.asked if "=" in word)
    found = {
        "CLUSTER_NAME": site.CLUSTER,
        "JOB_ID": str(job.id),
        "JOBID": str(job.id),
        "JOB_NAME": array_task.name(job),
        "JOB_PARTITION": site.PARTITION,
        "JOB_QOS": site.QOS,
        "JOB_USER": spec.user,
        "JOB_UID": str(host.uid),
        "JOB_GID": str(host.gid),
        "JOB_START_TIME": str(int(run.launched_at)),
        "SUBMIT_DIR": spec.submit_dir or spec.cwd,
        "SUBMIT_HOST": host.node,
        **dict.fromkeys(("JOB_NODELIST", "NODELIST", "TOPOLOGY_ADDR"), host.node),
        **dict.fromkeys(("JOB_NUM_NODES", "NNODES"), "1"),
        **dict.fromkeys(("PROCID", "LOCALID", "NODEID", "GTIDS", "PRIO_PROCESS"), "0"),
        "NODE_ALIASES": "(null)",
        "TOPOLOGY_ADDR_PATTERN": "node",
        **_of_amounts(spec, asked),
        **{
            OF_OPTIONS[name]: value for name, value in asked.items() if name in OF_OPTIONS and _is_so(name, value, spec)
        },
    }
    if spec.project is not None:
        found["JOB_ACCOUNT"] = spec.project
    if spec.time_limit is not None:
        found["JOB_END_TIME"] = str(int(run.launched_at + spec.time_limit))
    if run.attempt > 1:
        found["RESTART_COUNT"] = str(run.attempt - 1)
    if run.gpu_ids:
        found |= {"JOB_GPUS": ",".join(map(str, run.gpu_ids)), "GPUS_ON_NODE": str(len(run.gpu_ids))}
    named = {f"SLURM_{name}": value for name, value in found.items()}
    return named | {"SLURMD_NODENAME": host.node, "HOSTNAME": host.node, "ENVIRONMENT": "BATCH"}


def _of_amounts(spec: Spec, asked: Mapping[str, str]) -> dict[str, str]:
    """Tasks, CPUs and memory."""
    cpus = max(spec.cpus, 1)
    tasks = spec.tasks
    count = None if tasks is None else tasks.count or tasks.per_node
    each = 1 if tasks is None or tasks.cpus is None else tasks.cpus
    found = {
        "TASKS_PER_NODE": str(count or max(cpus // each, 1)),
        **dict.fromkeys(("CPUS_ON_NODE", "JOB_CPUS_PER_NODE"), str(cpus)),
    }
    if tasks is not None:
        said = {
            "NTASKS": count, "NPROCS": count, "NTASKS_PER_NODE": tasks.per_node, "CPUS_PER_TASK": tasks.cpus,
        }  # fmt: skip
        found |= {name: str(number) for name, number in said.items() if number is not None}
    for name, number in (("mem-per-cpu", cpus), ("mem-per-gpu", spec.gpus)):
        if name in asked and _megabytes(asked[name]) * number == spec.memory_mb:
            return found | {OF_OPTIONS[name]: str(_megabytes(asked[name]))}
    return found if spec.memory_mb is None else found | {"MEM_PER_NODE": str(spec.memory_mb)}


def _is_so(name: str, value: str, spec: Spec) -> bool:
    """Whether an option still says what the job gets: the command line or `update` may have changed that."""
    number = _count(value)
    tasks = 1 if spec.tasks is None else spec.tasks.count or spec.tasks.per_node or 1
    match name:
        case "mem-per-cpu" | "mem-per-gpu":
            return False  # they are of the amounts
        case "gpus" | "gpus-per-node":
            return number == spec.gpus
        case "gpus-per-task":
            return number * tasks == spec.gpus
        case "cpus-per-gpu":
            return number * spec.gpus == spec.cpus
        case _:
            return True


def _count(value: str) -> int:
    """The number in `2` or `a100:2`; 0 where there is none."""
    number = value.rpartition(":")[2]
    return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0


def _megabytes(value: str) -> int:
    try:
        return memory.parse(value)
    except Refused:
        return 0
