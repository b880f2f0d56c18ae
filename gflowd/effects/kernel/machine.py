"""The machine's resources other than GPUs."""

import os

import psutil


def cpus() -> int:
    """The CPUs that we may use."""
    return len(os.sched_getaffinity(0))


def memory_mb() -> int:
    """The memory installed, in MiB."""
    return int(psutil.virtual_memory().total) >> 20
