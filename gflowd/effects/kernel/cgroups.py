"""Control groups (version 2), if this process may create them: one for each attempt with a memory limit.

The kernel then enforces the limit exactly, and ends all of an attempt that exceeds it; `job.sh` stays outside, to
record it. The kernel also freezes such an attempt as a whole, unnoticed by its processes. Without such a place, nothing
here has any effect, and memory is checked from outside.

A place is what systemd has delegated to the unit that this process is in (with `DelegateSubgroup=`, so that no process
is in the place itself), or, for root where no systemd owns the tree, its top.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
import zlib
from typing import TYPE_CHECKING

from gflowd import paths
from gflowd.effects import proc

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

BLIND = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # we cannot read it, which says nothing about the job
BETWEEN_LOOKS = 0.01  # seconds
YOUNG = 60.0  # seconds: the job of an unknown group may still be starting
_NAME = re.compile(r"([0-9]+)\.([0-9]+)")

Key = tuple[int, int]


class Cgroups:
    """The groups below one directory, which belongs to this daemon alone."""

    def __init__(self, root: str) -> None:
        self.root = root

    def path(self, key: Key) -> str:
        """The group of an attempt."""
        return os.path.join(self.root, f"{key[0]}.{key[1]}")

    def make(self, key: Key, memory_mb: int) -> str | None:
        """Creates the group of an attempt, with its limit and without swap; None if impossible."""
        path = self.path(key)
        try:
            os.makedirs(path, exist_ok=True)
            limit_memory(path, memory_mb)
            _write(path, "memory.oom.group", "1")
        except OSError:
            remove(path)
            return None
        return path

    def holds(self, key: Key) -> bool:
        """Whether processes of an attempt are in its group, so that the kernel enforces its limit."""
        return is_populated(self.path(key))

    def kill(self, key: Key) -> None:
        """Sends KILL to everything in the group of an attempt, if it has one."""
        kill(self.path(key))

    def freeze(self, key: Key, *, frozen: bool) -> bool:
        """Freezes all that is in the group of an attempt, or lets it go on; False where there is no such group."""
        return freeze(self.path(key), frozen=frozen)

    def pids(self, key: Key) -> set[int]:
        """The processes in the group of an attempt."""
        return pids(self.path(key))

    def remove_all_but(self, keys: Iterable[Key], age: float = YOUNG) -> None:
        """Removes the groups of other attempts that are empty and `age` seconds old."""
        kept = set(keys)
        with contextlib.suppress(OSError):
            for name in names(self.root):
                match = _NAME.fullmatch(name)
                path = os.path.join(self.root, name)
                if match and (int(match[1]), int(match[2])) not in kept and time.time() - os.stat(path).st_mtime >= age:
                    remove(path)

    def close(self, age: float = YOUNG) -> None:
        """Removes all groups without processes that are `age` seconds old: another worker may be starting a job."""
        self.remove_all_but((), age)
        remove(self.root)

    def leave(self, script: Callable[[Key], str]) -> None:
        """Removes all groups without processes once no worker lives, but those of attempts whose `script` runs: it is
        about to enter its group, or to read what was counted there.
        """
        keys = [(int(match[1]), int(match[2])) for match in map(_NAME.fullmatch, names(self.root)) if match]
        running = named_by_processes([script(key) for key in keys])
        self.remove_all_but((key for key in keys if script(key) in running), age=0.0)
        remove(self.root)


def find(state_root: str) -> Cgroups | None:
    """Creates the place for the groups of the daemon on `state_root`; None if there is none."""
    mount, own = find_mount(), own_path(proc.cgroup(os.getpid()))
    if mount is None or own is None:
        return None
    above = os.path.dirname(f"{mount}{own}")
    if own != "/" and (_is_delegated(above) or is_of_our_unit(above, os.geteuid())):
        return settle(above, state_root)
    if os.geteuid() == 0 and not os.path.exists(paths.SYSTEMD):
        return settle(mount, state_root)
    return None


def settle(place: str, state_root: str) -> Cgroups | None:
    """A directory for the daemon on `state_root` in the group `place`, with limits of memory; None if that fails."""
    root = os.path.join(place, f"gflow-{zlib.crc32(os.fsencode(state_root)):08x}")
    try:
        if "memory" not in _read(place, "cgroup.controllers").split():
            return None
        if "memory" not in _read(place, "cgroup.subtree_control").split():
            _write(place, "cgroup.subtree_control", "+memory")
        os.makedirs(root, exist_ok=True)
        _write(root, "cgroup.subtree_control", "+memory")
    except OSError:
        remove(root)
        return None
    return Cgroups(root)


def find_mount() -> str | None:
    """The mount point of the whole tree of groups; None if it is not mounted."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            return mount_point(file.read())
    except OSError:
        return None


def can_limit_memory() -> bool:
    """Whether the kernel can limit the memory of groups here."""
    mount = find_mount()
    return mount is not None and "memory" in _read(mount, "cgroup.controllers").split()


def mount_point(mountinfo: str) -> str | None:
    """The mount point of the whole tree of groups, by proc(5); None if it is not mounted."""
    for line in mountinfo.splitlines():
        fields, _, more = line.partition(" - ")
        words = fields.split(" ")
        if more.startswith("cgroup2 ") and words[3] == "/":
            return words[4].replace("\\040", " ")
    return None


def own_path(cgroup: str) -> str | None:
    """Our own group below the mount point, by cgroups(7)."""
    for line in cgroup.splitlines():
        if line.startswith("0::/"):
            return line.removeprefix("0::")
    return None


def is_populated(path: str) -> bool:
    """Whether a process is in a group or below it. So it is for all we know while we have no descriptor to look."""
    try:
        with open(os.path.join(path, "cgroup.events"), encoding="ascii") as file:
            return "populated 1" in file.read().splitlines()
    except OSError as error:
        return error.errno in BLIND


def is_frozen(path: str) -> bool:
    """Whether all that is in a group stands still."""
    return "frozen 1" in _read(path, "cgroup.events").splitlines()


def reread(events: int) -> bool:
    """Whether the group has processes whose events are open as `events`, which is quiet then until the next one."""
    try:
        return b"populated 1" in os.pread(events, 4096, 0).splitlines()
    except OSError:
        return False  # it was removed


def pids(path: str) -> set[int]:
    """The processes in a group."""
    return {int(word) for word in _read(path, "cgroup.procs").split()}


def kill(path: str) -> bool:
    """Sends KILL to everything in a group; False if there is none, or the kernel is older than 5.14."""
    if not os.path.exists(os.path.join(path, "cgroup.kill")):
        return False
    with contextlib.suppress(OSError):
        _write(path, "cgroup.kill", "1")
        return True
    return False


def freeze(path: str, *, frozen: bool) -> bool:
    """Freezes all that is in a group, or lets it go on; False if there is none, or the kernel is older than 5.2."""
    if not os.path.exists(os.path.join(path, "cgroup.freeze")):
        return False
    try:
        _write(path, "cgroup.freeze", "1" if frozen else "0")
    except OSError:
        return False
    return True


def limit_memory(path: str, memory_mb: int) -> None:
    """Limits the memory of a group, and allows it no swap. Raises OSError."""
    _write(path, "memory.max", str(memory_mb << 20))
    if os.path.exists(os.path.join(path, "memory.swap.max")):
        _write(path, "memory.swap.max", "0")


def count_memory(*places: str) -> None:
    """Lets memory be limited in groups below these, as far as the kernel can."""
    for place in places:
        with contextlib.suppress(OSError):
            if "memory" not in _read(place, "cgroup.subtree_control").split():
                _write(place, "cgroup.subtree_control", "+memory")


def has_memory_limit(path: str) -> bool:
    """Whether the memory of a group is limited."""
    return _read(path, "memory.max").strip() not in ("", "max")


def has_starved(path: str) -> bool:
    """Whether the kernel has ended a process of a group that exceeds its memory."""
    words = dict(line.split() for line in _read(path, "memory.events").splitlines())
    return words.get("oom_kill", "0") != "0"


def named_by_processes(words: Collection[str]) -> set[str]:
    """Which of these are words of a process's command line. Looks twice: for an instant within execve(2) a process has
    none.
    """
    wanted = {os.fsencode(word): word for word in words}
    found: set[str] = set()
    for rest in (0.0, BETWEEN_LOOKS) if wanted else ():
        time.sleep(rest)
        for pid, _ in proc.pids():
            found.update(wanted[word] for word in wanted.keys() & proc.command_line(pid))
    return found


def _is_delegated(path: str) -> bool:
    """Whether systemd delegates the tree below `path` to us, which an attribute says."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(path, name) == b"1":
                return True
    return False


def is_of_our_unit(path: str, uid: int) -> bool:
    """Whether a user's systemd, which sets no such attribute, delegates the tree below `path` to user `uid`, us: it is
    a service's and ours, and no process is in itself, since `DelegateSubgroup=` put us below it.
    """
    try:
        ours = os.stat(path).st_uid == uid != 0
    except OSError:
        return False
    return ours and path.endswith(".service") and "/user@" in path and not _read(path, "cgroup.procs").strip()


def names(path: str) -> list[str]:
    """What is in a directory; nothing where there is none."""
    try:
        return os.listdir(path)
    except OSError:
        return []


def _write(path: str, name: str, text: str) -> None:
    fd = os.open(os.path.join(path, name), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _read(path: str, name: str) -> str:
    try:
        with open(os.path.join(path, name), encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""


def remove(path: str) -> None:
    """Removes a group, if it is empty."""
    with contextlib.suppress(OSError):
        os.rmdir(path)
