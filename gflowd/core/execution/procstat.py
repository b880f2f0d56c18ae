"""What proc(5) says of a process, read: its stat line, its signals, its memory. Pure.

The process's name in a stat line may hold spaces, brackets and newlines.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gflowd.core.job.model import Identity

GREATEST_PID = (1 << 31) - 1  # what the kernel's calls take
GREATEST_START = (1 << 63) - 1  # what the snapshot can hold
_FAULT = 1 << 10  # SIGSEGV, which is 11 on every architecture
_STOP = 1 << 18  # SIGSTOP, which is 19 on x86 and arm
_KERNELS = 0x00200000  # PF_KTHREAD of Linux' sched.h: a thread of the kernel, which has no environment


@dataclass(frozen=True, slots=True)
class Process:
    """A process: `start` in clock ticks since boot; a `zombie` is dead and not yet reaped; `stopped` by a signal; `rss`
    in pages; `cpu` in clock ticks, with that of the children that it has waited for.
    """

    pid: int
    parent: int
    session: int
    start: int
    zombie: bool
    rss: int = field(default=0, compare=False)
    stopped: bool = field(default=False, compare=False)
    cpu: int = field(default=0, compare=False)

    @property
    def key(self) -> tuple[int, int]:
        """Its pid and start, which no other process since boot shares."""
        return self.pid, self.start

    def identity(self, boot: str) -> Identity:
        """Its unique name."""
        return Identity(boot, self.pid, self.start)


def parse(line: str) -> Process | None:
    """The process of a stat line, or None if it is none. Lines come from files too, which may be damaged."""
    pid, _, _ = line.partition(" ")
    fields = line.rpartition(") ")[2].split()
    try:
        found = Process(
            int(pid),
            int(fields[1]),
            int(fields[3]),
            int(fields[19]),
            fields[0] in ("Z", "X"),
            int(fields[21]),
            fields[0] == "T",
            sum(map(int, fields[11:15])),
        )
    except (ValueError, IndexError):
        return None
    return found if 0 < found.pid <= GREATEST_PID and 0 <= found.start <= GREATEST_START else None


def has_no_environment(line: str) -> bool:
    """Whether the process of a stat line was started without any variable, or is a thread of the kernel. In the midst
    of execve(2), and of its end, a process has one for all that is known.
    """
    fields = line.rpartition(") ")[2].split()
    return len(fields) > 48 and (fields[47] == fields[48] != "0" or bool(int(fields[6]) & _KERNELS))


def takes(status: str, number: int) -> bool:
    """Whether the process of a status file has a handler for the signal `number`, or blocks it to wait for it.

    A process that blocks all signals, including those of its own faults, is probably between a vfork and an exec
    (shells, posix_spawn and Python's subprocess do that); what it does with a signal cannot be seen then. It counts as
    waiting for a signal only if it sleeps.
    """
    bit = 1 << (number - 1)
    fields = _fields(status)
    blocked = _mask(fields, "SigBlk")
    if _mask(fields, "SigIgn") & bit:
        return False
    if _mask(fields, "SigCgt") & bit:
        return True
    return bool(blocked & bit) and (not blocked & _FAULT or fields.get("State", "").lstrip().startswith("S"))


def name(status: str) -> str:
    """What the process of a status file is called, as the kernel writes it."""
    return _fields(status).get("Name", "").strip()


def is_to_stop(status: str) -> bool:
    """Whether STOP was sent to the process of a status file, which has not stopped yet."""
    fields = _fields(status)
    return bool((_mask(fields, "SigPnd") | _mask(fields, "ShdPnd")) & _STOP)


def is_uninterruptible(status: str) -> bool:
    """Whether the process of a status file waits in the kernel and takes no signal, e.g. during a vfork."""
    return _fields(status).get("State", "").lstrip().startswith("D")


def catches_faults(status: str) -> bool:
    """Whether the process of a status file has a handler for faults of its own."""
    return bool(_mask(_fields(status), "SigCgt") & _FAULT)


def _fields(status: str) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition(":") for line in status.splitlines())}


def _mask(fields: dict[str, str], name: str) -> int:
    return int(fields.get(name, "0"), 16)


def own_resident(status: str) -> int:
    """The resident bytes of the process of a status file that are backed by no file; what it shares counts whole."""
    fields = _fields(status)
    found = (fields.get(name, "").split() for name in ("RssAnon", "RssShmem"))
    return sum(int(words[0]) << 10 for words in found if len(words) == 2 and words[1] == "kB")


def unshared(rollup: str) -> int | None:
    """The bytes of a smaps_rollup that are the process's own and cannot be dropped: its part of anonymous and shared
    memory, not of mapped files, which the kernel takes back when it needs room. None if the kernel does not say.
    """
    found = {}
    for line in rollup.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB":
            found[name] = int(words[0]) << 10
    if "Pss_Anon" in found:
        return found["Pss_Anon"] + found.get("Pss_Shmem", 0)
    return found.get("Pss")
