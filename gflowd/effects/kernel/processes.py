"""Processes as the kernel knows them: their identity, the job each belongs to, and signals to exactly these.

A process belongs to a job if it descends from its `job.sh`, shares its session, or carries its mark in the
environment. It is identified by `Identity`; signals go through a pidfd that is opened before the identity is checked.
"""

from __future__ import annotations

import os
import pwd
import select
import signal
import time
from typing import TYPE_CHECKING

from gflowd.core.execution import procstat, signal_targets
from gflowd.effects import proc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gflowd.core.execution.procstat import Process
    from gflowd.core.job.model import Identity

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
LOOKS = 5  # at two clocks


def started_mono(start: int) -> float:
    """The monotonic time, in seconds, of a start time in ticks since boot.

    /proc counts the time suspended and the monotonic clock does not; the difference is taken as it is now, which is
    exact unless the machine was suspended since.
    """
    # A look that is held up between the clocks tells too little.
    suspended = max(time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic() for _ in range(LOOKS))
    return min((start + 1) / TICKS - suspended, time.monotonic())


def read(pid: int) -> Process | None:
    """The process `pid`, or None if there is none."""
    return procstat.parse(_stat_line(pid))


def lives(identity: Identity, boot: str) -> bool:
    """Whether that very process exists, in `boot`, and is not a zombie."""
    return identity.boot == boot and _is_there(identity.pid, identity.start)


def is_there(process: Process) -> bool:
    """Whether that very process is there still, and not a corpse."""
    return _is_there(*process.key)


def stands_still(process: Process) -> bool:
    """Whether a process is stopped, or will be before it does anything more: it waits in the kernel, as the parent in a
    vfork does for its child, which may be stopped itself.
    """
    status = "" if process.stopped else _status(process.pid)
    return process.stopped or (procstat.is_to_stop(status) and procstat.is_uninterruptible(status))


def is_to_stop(process: Process) -> bool:
    """Whether a process is stopped, or STOP is on its way to it."""
    return process.stopped or procstat.is_to_stop(_status(process.pid))


def _status(pid: int) -> str:
    """Its status file; empty if it is gone."""
    try:
        return proc.status(pid)
    except OSError:
        return ""


def without(found: Iterable[Process], leader: Identity | None) -> list[Process]:
    """The processes of a job but for its `job.sh`, where that is known."""
    return [process for process in found if leader is None or process.key != (leader.pid, leader.start)]


def _is_there(pid: int, start: int) -> bool:
    found = read(pid)
    return found is not None and found.start == start and not found.zombie


_starts: dict[tuple[int, int], int] = {}  # the processes of the last pass, by pid and inode


def everyone(since: int = 0) -> dict[int, Process]:
    """Every living process by pid, except for some that began before `since` (ticks).

    The inode of a directory in /proc is never given to another process with that pid. So most processes of a machine,
    which are older than the jobs that are asked for, are read only once.
    """
    global _starts
    found: dict[int, Process] = {}
    starts: dict[tuple[int, int], int] = {}
    for key in proc.pids():
        start = _starts.get(key)
        if start is not None and start < since:
            starts[key] = start
        elif (process := read(key[0])) is not None:
            starts[key] = process.start
            if not process.zombie:
                found[process.pid] = process
    _starts = starts
    return found


Mark = tuple[bytes, ...]  # NUL-ended `NAME=value` strings that a process's environment must all hold
Leader = tuple["Identity | None", Mark]  # a job's `job.sh`, where it is known, and its mark


def job_mark(state_root: str, job_id: int, attempt: int) -> Mark:
    """The strings that every process of an attempt inherits, unless it deliberately removes them."""
    return (
        b"\0GFLOW_JOB_ID=%d\0" % job_id,
        b"\0GFLOW_ATTEMPT=%d\0" % attempt,
        b"\0GFLOW_STATE_DIR=%b\0" % os.fsencode(state_root),
    )


def is_of(process: Process, uid: int) -> bool:
    """Whether it is a process of that user."""
    try:
        return proc.owner(process.pid) == uid
    except OSError:  # it is gone
        return False


def members(leaders: Mapping[tuple[int, int], Leader], spare: int) -> dict[tuple[int, int], list[Process]]:
    """The living processes of each job, by one pass over /proc for all of them.

    `leaders` gives for each key its `job.sh` and its mark. The process `spare` and its children (the daemon, perhaps
    started from inside a job) belong to none.
    """
    since = min((0 if leader is None else leader.start for leader, _ in leaders.values()), default=0)
    table = {pid: process for pid, process in everyone(since).items() if spare not in (pid, process.parent)}
    children: dict[int, list[Process]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process)
    boot = proc.boot_id()
    found: dict[tuple[int, int], dict[int, Process]] = {key: {} for key in leaders}
    for key, (leader, _) in leaders.items():
        head = None if leader is None else table.get(leader.pid)
        if leader is not None and head is not None and head.identity(boot) == leader:
            for process in (head, *(p for p in table.values() if p.session == head.pid)):
                _gather(process, children, found[key])
    candidates = {
        process.pid: keys
        for process in table.values()
        if (
            keys := [
                key
                for key, (leader, _) in leaders.items()
                if process.pid not in found[key] and (leader is None or process.start >= leader.start)
            ]
        )
    }  # most of a machine is older than its jobs
    for pid, environment in _environments([table[pid] for pid in candidates]).items():
        for key in candidates[pid]:
            if all(word in environment for word in leaders[key][1]):
                _gather(table[pid], children, found[key])
    return {key: list(of_job.values()) for key, of_job in found.items()}


def _gather(head: Process, children: Mapping[int, list[Process]], into: dict[int, Process]) -> None:
    heads = [head]
    while heads:
        process = heads.pop()
        if process.pid not in into:
            into[process.pid] = process
            heads += children.get(process.pid, ())


# During execve(2) a process has no environment yet, and what was opened before has none any more (environ_read of
# Linux' fs/proc/base.c). That is over at once, but where the machine is busy, the program's file is far away, or one
# program after the other is replaced.
EXEC_TAKES = tuple(0.002 * 2**number for number in range(8))  # seconds: half a second in all
NO_ENVIRONMENT = b"\0"
_bare: set[tuple[int, int]] = set()  # pid and start of living processes that have none, or had none after the wait


def _environments(suspects: list[Process]) -> dict[int, bytes]:
    """Their environments by pid; waits, for all together, for processes that are just replacing their program."""
    found = {process.pid: _environment(process.pid) for process in suspects}
    if _bare:
        _bare.intersection_update((pid, start) for (pid, _), start in _starts.items())
    blank = {process.key for process in suspects if found[process.pid] == NO_ENVIRONMENT} - _bare
    for pause in (0.0, *EXEC_TAKES):
        blank = {(pid, start) for pid, start in blank if _is_there(pid, start)}  # ended processes have none either
        if not blank:
            break
        time.sleep(pause)
        found |= {pid: _environment(pid) for pid, _ in blank}
        blank = {(pid, start) for pid, start in blank if found[pid] == NO_ENVIRONMENT}
        bare = {key for key in blank if procstat.has_no_environment(_stat_line(key[0]))}
        _bare.update(bare)
        blank -= bare
    _bare.update(blank)
    return found


def _stat_line(pid: int) -> str:
    return proc.stat(pid).decode("ascii", "replace")


def _environment(pid: int) -> bytes:
    try:
        return NO_ENVIRONMENT + proc.environment(pid)  # so that each variable has a zero before it
    except OSError:
        return b""


def heeding(found: Iterable[Process], leader: int | None, number: int, *, slurm: bool) -> list[Process]:
    """Those of a job's processes that the signal `number` goes to (`signal_targets.chosen`); `job.sh`, by its pid, is
    `leader`, and never one of them. `slurm`: the job was written for Slurm.
    """
    members = [_member(process, number) for process in found if process.pid != leader]
    return signal_targets.chosen(members, leader, number, slurm=slurm)


def _member(process: Process, number: int) -> signal_targets.Member:
    status = _status(process.pid)
    launches = procstat.name(status) == signal_targets.LAUNCHER
    return signal_targets.Member(
        process,
        takes=procstat.takes(status, number) and not launches,
        doubtful=procstat.catches_faults(status),
        shell=launches or signal_targets.is_shell(proc.executable(process.pid)),
    )


def memory(process: Process) -> int:
    """The bytes of memory that a process has for itself (`procstat.unshared`); where the kernel does not say, all that
    was resident.
    """
    try:
        own = procstat.unshared(proc.memory(process.pid))
    except FileNotFoundError:
        return 0 if read(process.pid) is None else process.rss * PAGE
    except ProcessLookupError:
        return 0
    except OSError:
        own = None
    return process.rss * PAGE if own is None else own


def resident(process: Process) -> int:
    """The bytes of memory that a process has for itself or shares with others (`procstat.own_resident`)."""
    return procstat.own_resident(_status(process.pid))


def lineage(pid: int, spare: int) -> tuple[Process, ...]:
    """The process `pid`, its parent and so on, up to but excluding init and `spare`; empty if we cannot see it."""
    found: list[Process] = []
    while pid not in (0, 1, spare) and (process := read(pid)) is not None and process not in found:
        found.append(process)
        pid = process.parent
    return tuple(found)


def marked(pid: int, marks: Mapping[int, Mark]) -> int | None:
    """Which of `marks`, by job, a process carries; another user's process is unreadable and counts as unmarked."""
    environment = _environment(pid) if marks else b""
    return next((job for job, mark in marks.items() if all(word in environment for word in mark)), None)


def user(pid: int) -> str:
    """The owner of a process: a name, or the user id if there is no name; `?` if it cannot be seen."""
    try:
        uid = proc.owner(pid)
    except OSError:
        return "?"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def send(process: Process, signals: Iterable[int], is_meant: Callable[[int], bool] | None = None) -> bool:
    """Sends `signals` to that very process, if `is_meant` says so of its pid; False if not, or if it is gone."""
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        found = read(process.pid)
        if found is None or found.start != process.start or (is_meant is not None and not is_meant(process.pid)):
            return False
        for number in signals:
            signal.pidfd_send_signal(fd, number)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(fd)


def watch(identity: Identity, boot: str) -> int | None:
    """A pidfd that becomes readable when that very process ends; None if it has."""
    if identity.boot != boot:
        return None
    try:
        fd = os.pidfd_open(identity.pid)
    except OSError:
        return None
    if lives(identity, boot):
        return fd
    os.close(fd)
    return None


def ended(pidfds: Iterable[int]) -> list[int]:
    """Those whose processes have ended."""
    poll = select.poll()
    for pidfd in pidfds:
        poll.register(pidfd, select.POLLIN)
    return [pidfd for pidfd, _ in poll.poll(0)]
