"""What the kernel says about processes in /proc, unprocessed: the only place that opens these files. Knows no job.

gflowctl imports it at its start, so it imports nothing.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

STATE, START = 0, 19  # places in `after_name`: proc(5) counts them as fields 3 and 22


def boot_id() -> str:
    """The kernel's name for the time since this boot. Raises OSError."""
    return _read("/proc/sys/kernel/random/boot_id", 64).decode("ascii").strip()


def pids() -> Iterator[tuple[int, int]]:
    """Every process, with the inode of its directory, which no other process of that pid is given."""
    with os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdigit():
                yield int(entry.name), entry.inode()


def stat(pid: int) -> bytes:
    """The stat line of a process; empty if there is none."""
    try:
        return _read(f"/proc/{pid}/stat", 4096)
    except OSError:
        return b""


def after_name(stat_line: bytes) -> list[bytes]:
    """The fields of a stat line from the state on: what is before may hold spaces and brackets."""
    return stat_line.rpartition(b")")[2].split()


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks after boot; 0 if there is none, or only its corpse."""
    fields = after_name(stat(pid)) if pid > 0 else []
    return int(fields[START]) if fields and fields[STATE] not in b"ZX" else 0


def is_stopped(pid: int) -> bool:
    """Whether a process was stopped by a signal or a debugger."""
    fields = after_name(stat(pid))
    return bool(fields) and fields[STATE] in b"Tt"


def command_line(pid: int) -> list[bytes]:
    """The command line of a process; empty if it is gone."""
    try:
        return _whole(pid, "cmdline").split(b"\0")[:-1]
    except OSError:
        return []


def name(pid: int) -> bytes:
    """The name of a process, cut to 15 bytes; empty if it is gone."""
    try:
        return _whole(pid, "comm").removesuffix(b"\n")
    except OSError:
        return b""


def environment(pid: int) -> bytes:
    """`NAME=value` and a zero byte for each variable; none in the midst of execve(2). Raises OSError."""
    return _whole(pid, "environ")


def status(pid: int) -> str:
    """What `procstat.takes` reads. Raises OSError."""
    return _whole(pid, "status").decode("ascii", "replace")


def memory(pid: int) -> str:
    """What `procstat.unshared` reads. Raises OSError: FileNotFoundError where the kernel is too old, too."""
    return _whole(pid, "smaps_rollup").decode("ascii", "replace")


def owner(pid: int) -> int:
    """The user id that a process has in force. Raises OSError."""
    return os.stat(f"/proc/{pid}").st_uid


def executable(pid: int) -> str:
    """The program that a process runs; empty when that is not to be seen."""
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def descriptors() -> list[int]:
    """Our own open descriptors, including the one used to list them."""
    return sorted(map(int, os.listdir("/proc/self/fd")))


def _read(path: str, most: int) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, most)
    finally:
        os.close(fd)


def _whole(pid: int, file: str) -> bytes:
    fd = os.open(f"/proc/{pid}/{file}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, 1 << 18):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)
