"""The variables that give sbatch(1) options: over those in a script's head, under those of the command line."""

from __future__ import annotations

from gflowd.core.slurm.sbatch_options import FLAGS, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_UNLIKE = {
    "ARRAY_INX": "array", "MEM_PER_NODE": "mem", "REQ_SWITCH": "switches", "TIMELIMIT": "time",
}  # fmt: skip
_LIKE = (
    "ACCOUNT", "ACCTG_FREQ", "BATCH", "CLUSTERS", "CONSTRAINT", "CONTAINER", "CONTAINER_ID", "CORE_SPEC",
    "CPUS_PER_GPU", "DELAY_BOOT", "DISTRIBUTION", "ERROR", "EXCLUSIVE", "EXPORT", "GET_USER_ENV", "GPUS",
    "GPUS_PER_NODE", "GPUS_PER_TASK", "GPU_BIND", "GPU_FREQ", "GRES", "GRES_FLAGS", "HINT", "IGNORE_PBS", "INPUT",
    "JOB_NAME", "MEM_BIND", "MEM_PER_CPU", "MEM_PER_GPU", "NETWORK", "NO_KILL", "NO_REQUEUE", "OPEN_MODE", "OUTPUT",
    "OVERCOMMIT", "PARTITION", "POWER", "PROFILE", "QOS", "REQUEUE", "RESERVATION", "SIGNAL", "SPREAD_JOB",
    "THREADS_PER_CORE", "THREAD_SPEC", "TRES_BIND", "TRES_PER_TASK", "USE_MIN_NODES", "WAIT", "WAIT_ALL_NODES",
    "WCKEY",
)  # fmt: skip
NAMES = {
    **{f"SBATCH_{name}": name.lower().replace("_", "-") for name in _LIKE},
    **{f"SBATCH_{name}": option for name, option in _UNLIKE.items()},
}


def options(environ: Mapping[str, str]) -> list[Option]:
    """Those that are set; their line is 0."""
    return [
        Option(0, option, None if option in FLAGS else environ[name])
        for name, option in NAMES.items()
        if environ.get(name)
    ]
