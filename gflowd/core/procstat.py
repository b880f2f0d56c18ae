"""A line of /proc/PID/stat, read (proc(5)). The process's name in it may hold spaces, brackets and newlines."""

from __future__ import annotations

from dataclasses import dataclass

from gflowd.core.model import Identity

GREATEST_PID = (1 << 31) - 1  # what the kernel's calls take
GREATEST_START = (1 << 63) - 1  # what the snapshot can hold


@dataclass(frozen=True, slots=True)
class Process:
    """A process: `start` in clock ticks since boot; a `zombie` is dead and not yet reaped."""

    pid: int
    parent: int
    session: int
    start: int
    zombie: bool

    def identity(self, boot: str) -> Identity:
        """Its name for ever."""
        return Identity(boot, self.pid, self.start)


def parse(line: str) -> Process | None:
    """The process of a stat line, or None when it is none. Lines come from files too, which may be damaged."""
    pid, _, _ = line.partition(" ")
    fields = line.rpartition(") ")[2].split()
    try:
        found = Process(int(pid), int(fields[1]), int(fields[3]), int(fields[19]), fields[0] in ("Z", "X"))
    except (ValueError, IndexError):
        return None
    return found if 0 < found.pid <= GREATEST_PID and 0 <= found.start <= GREATEST_START else None
