"""Descriptors of processes: of our own, to find leaks, and of others, which open and close them while one looks."""

from __future__ import annotations

import gc
import os


def ours() -> int:
    """How many we have; what is garbage already is closed first, and so does not end in the middle of a test."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def opened(pid: int) -> set[str]:
    """What a process that lives has open, by name; nothing when it is gone."""
    directory, found = f"/proc/{pid}/fd", set()
    try:
        for name in os.listdir(directory):
            try:
                found.add(os.readlink(f"{directory}/{name}"))
            except FileNotFoundError:  # closed since it was listed
                continue
    except FileNotFoundError:
        pass
    return found
