"""Keeps the processes of a control group from opening GPUs that are not theirs, by a program of the kernel's (BPF).

The kernel asks it at each open(2). So a descriptor from before, or one that another process has passed on, goes on
working: whoever gives a group away must first see it empty. A program that is attached stays until it is taken off or
the group is gone, whatever happens to us. It is known again by its name, which holds a hash of its content.

With a file system of type bpf, which systemd mounts, programs are kept there too: so systemd can attach one to a unit
before anything is in it (`BPFProgram=`), and a daemon without CAP_SYS_ADMIN finds what another left. Needs CAP_BPF and
CAP_NET_ADMIN.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from gflowd.core.gpu import device_program
from gflowd.core.gpu.device_access import Family, Rule
from gflowd.effects.shared_mode import bpf

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PLACE = "/sys/fs/bpf"
NO_RIGHT = "gflowd may not load BPF programs (it needs CAP_BPF and CAP_NET_ADMIN)"
NO_FILTER = "this kernel has no device filters for control groups (CONFIG_CGROUP_BPF)"
_CAUSES = {errno.EPERM: NO_RIGHT, errno.EINVAL: NO_FILTER, errno.ENOSYS: NO_FILTER}


class DeviceFilter:
    """The programs of one `owner`, a text of his own, and the groups that they are on."""

    def __init__(self, owner: str, place: str = PLACE) -> None:
        self._owner = owner
        self._pins = os.path.join(place, "gflow") if _is_kept(place) else None
        self._programs: dict[int, tuple[str, int]] = {}  # names and descriptors, by the kernel's ids
        self._strange: set[int] = set()  # the ids of others'
        for name in self._pinned():
            with contextlib.suppress(OSError):
                self._know(bpf.pinned(self._path(name)))

    @property
    def can_pin(self) -> bool:
        """Whether systemd can be told of programs."""
        return self._pins is not None

    def put(self, group: str, rule: Rule) -> bool:
        """Makes `rule` hold for a control group, in place of our last one; returns whether that is new. Raises OSError.

        What is in the group must have opened nothing before.
        """
        name = device_program.name(self._owner, rule)
        with _directory(group) as fd:
            there = self._ours(fd)
            is_new = name not in (other for other, _ in there)
            if is_new:
                bpf.attach(fd, self._program(name, rule))
            for other, program in there:
                if other != name:
                    bpf.detach(fd, program)
        return is_new

    def take_off(self, group: str) -> None:
        """Lets a control group open everything again, as far as we are concerned. Raises OSError."""
        with _directory(group) as fd:
            for _, program in self._ours(fd):
                bpf.detach(fd, program)

    def pin(self, rule: Rule) -> str:
        """Where the program of a rule is for systemd; only if it `can_pin`. Raises OSError."""
        name = device_program.name(self._owner, rule)
        self._program(name, rule)
        return self._path(name)

    def forget_all_but(self, rules: Iterable[Rule]) -> None:
        """Lets go of the programs of other rules; where they are attached they stay."""
        kept = {device_program.name(self._owner, rule) for rule in rules}
        for program_id, (name, program) in list(self._programs.items()):
            if name not in kept:
                os.close(program)
                del self._programs[program_id]
        self._strange.clear()
        for name in self._pinned():
            if name not in kept:
                with contextlib.suppress(OSError):
                    os.unlink(self._path(name))

    def close(self) -> None:
        """Closes what is open; everything stays in force."""
        for _, program in self._programs.values():
            os.close(program)
        self._programs = {}

    def _program(self, name: str, rule: Rule) -> int:
        program = next((program for other, program in self._programs.values() if other == name), None)
        if program is None:
            program = bpf.load(device_program.instructions(rule), name)
            self._know(program)
        if self._pins is not None and not os.path.exists(self._path(name)):
            os.makedirs(self._pins, mode=0o700, exist_ok=True)
            bpf.pin(program, self._path(name))
        return program

    def _know(self, program: int) -> None:
        """Remembers a program by its id if it is ours, and closes it otherwise."""
        program_id, name = bpf.about(program)
        if program_id not in self._programs and name.startswith(device_program.prefix(self._owner)):
            self._programs[program_id] = name, program
        else:
            self._strange.add(program_id)
            os.close(program)

    def _ours(self, group: int) -> list[tuple[str, int]]:
        """The names and descriptors of the programs on a group that are ours, and that can be told."""
        there = bpf.attached(group)
        for program_id in there:
            if program_id not in self._programs and program_id not in self._strange:
                with contextlib.suppress(OSError):  # not for us to see, or gone
                    self._know(bpf.by_id(program_id))
        return [self._programs[program_id] for program_id in there if program_id in self._programs]

    def _path(self, name: str) -> str:
        return os.path.join(self._pins or PLACE, name)

    def _pinned(self) -> list[str]:
        try:
            names = os.listdir(self._pins) if self._pins is not None else []
        except OSError:
            return []
        return [name for name in names if name.startswith(device_program.prefix(self._owner))]


def why_not() -> str | None:
    """Why no filter can be had here; None where it can."""
    try:
        os.close(bpf.load(device_program.instructions(Rule((Family(0),))), "gf_probe"))
    except OSError as error:
        return explain(error)
    return None


def explain(error: OSError) -> str:
    """What it means that something here failed."""
    return _CAUSES.get(error.errno or 0, f"BPF: {error.strerror}")


@contextlib.contextmanager
def _directory(group: str) -> Iterator[int]:
    fd = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _is_kept(place: str) -> bool:
    """Whether a file system of type bpf is mounted there."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            return any(line.split(" ")[4] == place and " - bpf " in line for line in file)
    except OSError:
        return False
