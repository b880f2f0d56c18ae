"""The programs that gflow has under Slurm's names. Each is the module `gflowctl.slurm.NAME`."""

from __future__ import annotations

NAMES = (
    "sacct",
    "sacctmgr",
    "salloc",
    "sbatch",
    "scancel",
    "scontrol",
    "seff",
    "sinfo",
    "squeue",
    "srun",
    "sshare",
    "sstat",
)  # fmt: skip
