"""The programs that gflow has under Slurm's names. Each is the module `gflowctl.slurm.NAME`."""

from __future__ import annotations

NAMES = (
    "sbatch",
    "scancel",
    "scontrol",
)  # fmt: skip
