"""The control group (version 2) of each attempt of a daemon for many users: what is in it belongs to the attempt.

Nobody but root can put a process into it or take one out, so its members, its signals and its end are read there, and
nowhere that a user may write. Where systemd starts the jobs it makes the groups, one for each job's service; elsewhere
they are ours, below one directory.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
import zlib
from typing import TYPE_CHECKING

from gflowd.effects import proc
from gflowd.effects.kernel import cgroups

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from gflowd.effects.kernel.cgroups import Key

SLICE = "gflow.slice"
_UNIT = re.compile(r"gflow-job-([0-9]+)-([0-9]+)\.service")
_OWN = re.compile(r"([0-9]+)\.([0-9]+)")
_REMOVED = re.compile(r"(?:[0-9]+|user)\.[0-9]+")
_USER = "user."
MOST_TRIES = 3  # to make a group
FREEZES_WITHIN = 0.1  # seconds; what waits for a disk does not
ENDS_WITHIN = 1.0  # seconds for what enters a group or is killed


def unit(key: Key) -> str:
    """What the service of an attempt is called."""
    return f"gflow-job-{key[0]}-{key[1]}.service"


class JobGroups:
    """The groups below `place`, as seen from `mount`; `by_systemd`: it makes and removes them."""

    def __init__(self, mount: str, place: str, *, by_systemd: bool) -> None:
        self._mark = os.path.join(mount, "cgroup.controllers")  # always there where groups are
        self._inside = f"{place.removeprefix(mount.rstrip('/'))}/"  # as /proc/PID/cgroup has it
        self._name = _UNIT if by_systemd else _OWN
        self.root = place
        self.by_systemd = by_systemd

    @property
    def are_mounted(self) -> bool:
        """Whether there are groups at all."""
        return os.path.exists(self._mark)

    def path(self, key: Key) -> str:
        """The group of an attempt."""
        return os.path.join(self.root, unit(key) if self.by_systemd else f"{key[0]}.{key[1]}")

    def make(self, key: Key, memory_mb: int | None = None) -> str:
        """Makes the group of an attempt, or finds it, and limits its memory where the kernel can. Not where systemd
        does. Raises OSError.
        """
        path = self.path(key)
        _make(path)
        os.chmod(path, 0o755)  # noqa: S103 -- job.sh reads what was counted
        if memory_mb is not None and os.path.exists(os.path.join(path, "memory.max")):
            cgroups.limit_memory(path, memory_mb)
        return path

    def make_for_user(self, uid: int) -> str:
        """Makes a group for what is done for a user outside of jobs. Raises OSError."""
        path = os.path.join(self.root, f"{_USER}{uid}")
        _make(path)
        return path

    def kill_for_user(self, uid: int) -> None:
        """Ends all that."""
        cgroups.kill(os.path.join(self.root, f"{_USER}{uid}"))

    def made_at(self, key: Key) -> float | None:
        """When the group of an attempt was made (wall time); None where there is none."""
        try:
            return os.stat(self.path(key)).st_mtime
        except OSError:
            return None

    def is_populated(self, key: Key) -> bool:
        """Whether a process of an attempt lives. So it is for all we know while no groups are mounted."""
        path = self.path(key)
        return cgroups.is_populated(path) or not (os.path.exists(path) or self.are_mounted)

    def pids(self, key: Key) -> set[int]:
        """The processes of an attempt."""
        return cgroups.pids(self.path(key))

    def key_of(self, pid: int) -> Key | None:
        """The attempt that a process belongs to; None for a stranger, or if it is gone."""
        path = cgroups.own_path(proc.cgroup(pid)) or ""
        if not path.startswith(self._inside):
            return None
        match = self._name.fullmatch(path.removeprefix(self._inside).partition("/")[0])
        return None if match is None else (int(match[1]), int(match[2]))

    def watch(self, key: Key) -> int | None:
        """A descriptor of the group's events, which has something urgent (POLLPRI) when the last process has ended, or
        another of its events; `cgroups.reread` makes it quiet again. None where there is no group.
        """
        try:
            return os.open(os.path.join(self.path(key), "cgroup.events"), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None

    def kill(self, key: Key, spared: Collection[int] = ()) -> None:
        """Sends KILL to every process of an attempt but the `spared`, including those that it forks meanwhile."""
        if (not spared and cgroups.kill(self.path(key))) or self.pids(key) <= set(spared):
            return
        self.freeze(key, frozen=True)  # so that nothing forks; the kernel has no other way before 5.14
        deadline = time.monotonic() + FREEZES_WITHIN
        while not cgroups.is_frozen(self.path(key)) and time.monotonic() < deadline:
            time.sleep(0.001)
        for pid in self.pids(key) - set(spared):
            with contextlib.suppress(OSError):
                fd = os.pidfd_open(pid)
                try:
                    if self.key_of(pid) == key:
                        signal.pidfd_send_signal(fd, signal.SIGKILL)
                finally:
                    os.close(fd)
        self.freeze(key, frozen=False)

    def freeze(self, key: Key, *, frozen: bool) -> bool:
        """Freezes all processes of an attempt, or lets them go on; False where there is no such group."""
        return cgroups.freeze(self.path(key), frozen=frozen)

    def holds(self, key: Key) -> bool:
        """Whether the kernel enforces the limit of an attempt's memory."""
        return cgroups.has_memory_limit(self.path(key))

    def has_starved(self, key: Key) -> bool:
        """Whether the kernel has ended a process of an attempt that exceeds its memory."""
        return cgroups.has_starved(self.path(key))

    def remove(self, key: Key) -> None:
        """Removes the group of an attempt that did not start."""
        if not self.by_systemd:
            cgroups.remove(self.path(key))

    def remove_all_but(self, keys: Iterable[Key], age: float = cgroups.YOUNG) -> None:
        """Removes the groups of other attempts that are empty and `age` seconds old, where these are ours."""
        if self.by_systemd:
            return
        kept = {self.path(key) for key in keys}
        with contextlib.suppress(OSError):
            for name in os.listdir(self.root):
                path = os.path.join(self.root, name)
                if _REMOVED.fullmatch(name) and path not in kept and time.time() - os.stat(path).st_mtime >= age:
                    cgroups.remove(path)

    def close(self, age: float = cgroups.YOUNG) -> None:
        """Removes all groups without processes that are `age` seconds old: another worker may be starting a job."""
        self.remove_all_but((), age)
        if not self.by_systemd:
            cgroups.remove(self.root)

    def leave(self, has_ended: Callable[[Key], bool], within: float = ENDS_WITHIN) -> None:
        """Removes all groups without processes once no worker lives. What is done for users outside of jobs is ended,
        and done again later. A program that starts a job, or whose job `has_ended`, gets so many seconds to enter its
        group or to end; else the group stays.
        """
        if self.by_systemd:
            return
        paths = [os.path.join(self.root, name) for name in cgroups.names(self.root) if _REMOVED.fullmatch(name)]
        for path in filter(_is_of_user, paths):
            cgroups.kill(path)
        deadline = time.monotonic() + within
        while paths := [
            each for each in paths if _is_of_user(each) or not cgroups.is_populated(each) or has_ended(_key(each))
        ]:
            for path in set(paths) - cgroups.named_by_processes(paths):
                cgroups.remove(path)
            paths = list(filter(os.path.exists, paths))
            if time.monotonic() >= deadline:
                break
            time.sleep(0.01)
        cgroups.remove(self.root)


def _key(path: str) -> Key:
    job_id, _, attempt = os.path.basename(path).partition(".")
    return int(job_id), int(attempt)


def _is_of_user(path: str) -> bool:
    return os.path.basename(path).startswith(_USER)


def _make(path: str) -> None:
    """Makes a group, or finds it, and what is above it, which a worker that ends may just have removed."""
    for _ in range(MOST_TRIES):
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            return
        except FileNotFoundError:
            _make_place(os.path.dirname(path))
        else:
            return
    os.mkdir(path, 0o755)


def _make_place(path: str) -> None:
    os.makedirs(path, mode=0o755, exist_ok=True)
    os.chmod(path, 0o755)  # noqa: S103 -- as the kernel makes them, whatever the umask


def find(state_root: str, *, by_systemd: bool) -> JobGroups | None:
    """The place for the groups of the daemon on `state_root`, made if it is not systemd's to make; None where there can
    be none.
    """
    mount = cgroups.find_mount()
    if mount is None:
        return None
    if by_systemd:
        return JobGroups(mount, os.path.join(mount, SLICE), by_systemd=True)
    place = os.path.join(mount, f"gflow-{zlib.crc32(os.fsencode(state_root)):08x}")
    try:
        _make_place(place)
    except OSError:
        return None
    cgroups.count_memory(mount, place)
    return JobGroups(mount, place, by_systemd=False)
