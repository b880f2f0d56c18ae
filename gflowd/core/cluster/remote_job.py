"""What a job finds on a node of a cluster in addition to what Slurm gives it.

What Slurm sets there counts: the submitter's variables of the same names, and ours for this machine, are left out. Only
the index of an array's element is ours, since one array of gflow's may be several of Slurm's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SLURMS = ("SLURM_", "SLURMD_", "SBATCH_")
GPUS = frozenset(
    ("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "GFLOW_JOB_GPUS", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES")
)
_INDEX = re.compile("SLURM_ARRAY_TASK_[A-Z]+")


def is_slurms(name: str) -> bool:
    """Whether Slurm says what a variable is on a node."""
    return name.startswith(SLURMS) or name in GPUS


def environment(data: bytes) -> bytes:
    """The submitter's environment, NUL-separated, without what Slurm sets."""
    kept = (entry for entry in data.split(b"\0") if not is_slurms(entry.partition(b"=")[0].decode(errors="replace")))
    return b"\0".join(kept)


def variables(ours: Mapping[str, str]) -> dict[str, str]:
    """Those of `ours`, as for a job of this machine, that a job has there too."""
    return {name: value for name, value in ours.items() if not is_slurms(name) or _INDEX.fullmatch(name)}
