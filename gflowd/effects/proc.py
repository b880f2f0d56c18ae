"""What the kernel says about processes in /proc, unprocessed: the only place that opens these files. Knows no job.

gflowctl imports it at its start, so it imports nothing.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

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


def cgroup(pid: int) -> str:
    """What `cgroups.own_path` reads; empty if it is gone."""
    try:
        return _whole(pid, "cgroup").decode("utf-8", "surrogateescape")
    except OSError:
        return ""


def owner(pid: int) -> int:
    """The user id that a process has in force. Raises OSError."""
    return os.stat(f"/proc/{pid}").st_uid


def executable(pid: int) -> str:
    """The program that a process runs; empty when that is not to be seen."""
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def threads(pid: int) -> list[int]:
    """The threads of a process; none when it is gone."""
    try:
        return sorted(map(int, os.listdir(f"/proc/{pid}/task")))
    except OSError:
        return []


def children(pid: int) -> list[int]:
    """The processes that a process has started and not yet buried."""
    found: list[int] = []
    for thread in threads(pid):
        try:
            found += map(int, _read(f"/proc/{pid}/task/{thread}/children", 1 << 16).split())
        except OSError:
            continue
    return found


def system_call(pid: int, thread: int) -> list[str]:
    """The number of the call that a thread is in and its arguments, in hexadecimal; empty when that is not to be seen,
    or it is in none.
    """
    try:
        words = _read(f"/proc/{pid}/task/{thread}/syscall", 200).decode("ascii", "replace").split()
    except OSError:
        return []
    return words if len(words) > 2 else []


def sleeps_in(pid: int, thread: int) -> str:
    """The kernel's function in which a thread sleeps; empty when that is not to be seen."""
    try:
        return _read(f"/proc/{pid}/task/{thread}/wchan", 200).decode("ascii", "replace")
    except OSError:
        return ""


def opened(pid: int, descriptor: int) -> os.stat_result | None:
    """The file that a process has open; None when that is not to be seen."""
    try:
        return os.stat(f"/proc/{pid}/fd/{descriptor}")
    except OSError:
        return None


def opened_files(pid: int, paths: Collection[str]) -> Iterator[tuple[int, str]]:
    """Which of these files a process has open, and by which descriptors; none that cannot be seen."""
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            if (target := os.readlink(f"/proc/{pid}/fd/{name}")) in paths:
                yield int(name), target
    except OSError:
        return


def kinds_of_opened(pid: int) -> set[str]:
    """The kinds of what a process has open, other than files, e.g. `socket` or `anon_inode`; empty if unreadable."""
    found = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            target = os.readlink(f"/proc/{pid}/fd/{name}")
            if not target.startswith("/"):
                found.add(target.partition(":")[0])
    except OSError:
        pass
    return found


def most_descriptors(pid: int) -> int | None:
    """How many descriptors a process may have; None where that is not limited or not to be seen."""
    try:
        lines = _whole(pid, "limits").decode("ascii", "replace").splitlines()
        return next(int(line.split()[3]) for line in lines if line.startswith("Max open files"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def count_descriptors(pid: int) -> int:
    """How many descriptors a process has; 0 when that is not to be seen."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


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
