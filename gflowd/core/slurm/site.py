"""What gflow calls the one machine, and itself, where Slurm's users and programs expect a cluster's names."""

from __future__ import annotations

from gflowd.core.job import arrays

CLUSTER = "gflow"
PARTITION = "gflow"  # the only one, whichever a job asks for
QOS = "normal"
VERSION = "23.11.0"  # of Slurm, whose ways the programs have
MAX_ARRAY_SIZE = arrays.LARGEST + 1  # one more than the greatest index
MIN_JOB_AGE = 300  # seconds for which squeue and scontrol know an ended job


def node(nodename: str) -> str:
    """The node's name, from what the kernel calls the machine."""
    return nodename.partition(".")[0] or "localhost"
