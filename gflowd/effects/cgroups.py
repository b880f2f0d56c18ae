"""Control groups (version 2), if this process may create them: one for each attempt with a memory limit.

The kernel then enforces the limit exactly, and ends all of an attempt that exceeds it; `job.sh` stays outside, to
record it. The kernel also freezes such an attempt as a whole, unnoticed by its processes. Without such a place, nothing
here has any effect, and memory is checked from outside.

A place is what systemd has delegated to the unit that this process is in (with `DelegateSubgroup=`, so that no process
is in the place itself), or, for root where no systemd owns the tree, its top.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

YOUNG = 60.0  # seconds: the job of an unknown group may still be starting
SYSTEMD = "/run/systemd/system"  # exists if systemd runs the machine (sd_booted(3))
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
            _write(path, "memory.max", str(memory_mb << 20))
            _write(path, "memory.oom.group", "1")
            if os.path.exists(os.path.join(path, "memory.swap.max")):
                _write(path, "memory.swap.max", "0")
        except OSError:
            _remove(path)
            return None
        return path

    def holds(self, key: Key) -> bool:
        """Whether processes of an attempt are in its group, so that the kernel enforces its limit."""
        return "populated 1" in _read(self.path(key), "cgroup.events").splitlines()

    def kill(self, key: Key) -> None:
        """Sends KILL to everything in the group of an attempt, if it has one."""
        with contextlib.suppress(OSError):
            _write(self.path(key), "cgroup.kill", "1")

    def freeze(self, key: Key, *, frozen: bool) -> bool:
        """Freezes all that is in the group of an attempt, or lets it go on; False where there is no such group."""
        path = self.path(key)
        if not os.path.exists(os.path.join(path, "cgroup.freeze")):
            return False  # the attempt has no group, or the kernel is older than 5.2
        try:
            _write(path, "cgroup.freeze", "1" if frozen else "0")
        except OSError:
            return False
        return True

    def pids(self, key: Key) -> set[int]:
        """The processes in the group of an attempt."""
        return {int(word) for word in _read(self.path(key), "cgroup.procs").split()}

    def remove_all_but(self, keys: Iterable[Key], age: float = YOUNG) -> None:
        """Removes the groups of other attempts that are empty and `age` seconds old."""
        kept = set(keys)
        with contextlib.suppress(OSError):
            for name in os.listdir(self.root):
                match = _NAME.fullmatch(name)
                path = os.path.join(self.root, name)
                if match and (int(match[1]), int(match[2])) not in kept and time.time() - os.stat(path).st_mtime >= age:
                    _remove(path)

    def close(self) -> None:
        """Removes all groups without processes."""
        self.remove_all_but((), age=0.0)
        _remove(self.root)


def find(state_root: str) -> Cgroups | None:
    """Creates the place for the groups of the daemon on `state_root`; None if there is none."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mount = mount_point(file.read())
        with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            own = own_path(file.read())
    except OSError:
        return None
    if mount is None or own is None:
        return None
    above = os.path.dirname(f"{mount}{own}")
    if own != "/" and (_is_delegated(above) or is_of_our_unit(above, os.geteuid())):
        return settle(above, state_root)
    if os.geteuid() == 0 and not os.path.exists(SYSTEMD):
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
        _remove(root)
        return None
    return Cgroups(root)


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


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.rmdir(path)
