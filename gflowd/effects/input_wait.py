"""Whether a program waits for input that may never come. Writes to no terminal."""

from __future__ import annotations

import os
import stat

from gflowd.effects import proc

FOREGROUND, GROUP = 5, 2  # places in `proc.after_name`: fields 8 and 5 of proc(5)
SLAVES = range(136, 144)  # major numbers of pseudo terminals (devices.txt of Linux)
QUIET = 10.0  # seconds without a byte: the kernel notes their time to 8 s (tty_update_time of Linux' tty_io.c)
MOST = 1000  # processes and threads of one job that are looked at
# Numbers of read, readv; of poll, ppoll, select, pselect6, epoll_wait, epoll_pwait, epoll_pwait2 (syscalls(2)).
_CALLS = {
    "x86_64": ({0, 19}, {7, 271, 23, 270, 232, 281, 441}),
    "aarch64": ({63, 65}, {73, 72, 22, 441}),
}
_UNSURE = {"socket", "anon_inode"}  # reading from these may sleep where reading from a terminal does


def waits_for_input(pid: int, start: int) -> bool:
    """Whether a foreground process has been waiting for input from its terminal for `QUIET` seconds. The terminal is
    that of `pid`, a session leader that started at `start` (ticks).
    """
    terminal = proc.opened(pid, 0)
    if terminal is None or not stat.S_ISCHR(terminal.st_mode) or os.major(terminal.st_rdev) not in SLAVES:
        return False
    if _now() - max(terminal.st_atime, terminal.st_mtime) < QUIET or proc.start_ticks(pid) != start:
        return False
    left, heads = MOST, [pid]
    while heads and left > 0:
        head = heads.pop()
        fields = proc.after_name(proc.stat(head))
        if len(fields) > FOREGROUND and fields[GROUP] == fields[FOREGROUND]:
            threads = proc.threads(head)
            left -= len(threads)
            if any(_waits(head, thread, terminal.st_rdev) for thread in threads[:MOST]) or _asks_secretly(head, pid):
                return True
        left -= 1
        heads += proc.children(head)
    return False


def _waits(pid: int, thread: int, terminal: int) -> bool:
    """Whether a thread reads from that terminal, or polls several descriptors while the terminal delivers each key at
    once, as editors and pagers set it.
    """
    call = proc.system_call(pid, thread)
    if not call:  # not ours to see, as where Yama keeps tracers away
        where = proc.sleeps_in(pid, thread)
        return where == "n_tty_read" or (where == "wait_woken" and not proc.kinds_of_opened(pid) & _UNSURE)
    reads, waits = _CALLS.get(os.uname().machine, (set(), set()))
    if int(call[0]) in reads:
        file = proc.opened(pid, int(call[1], 16))
        return file is not None and stat.S_ISCHR(file.st_mode) and _is(file.st_rdev, terminal)
    return int(call[0]) in waits and _hands_on_keys(pid, terminal)


def _asks_secretly(pid: int, leader: int) -> bool:
    """Whether another user's program, whose calls cannot be seen, has turned off the echo of whole lines, as sudo does
    to ask for a password.
    """
    try:
        if proc.owner(pid) == os.geteuid():
            return False
    except OSError:
        return False
    flags = _flags(leader, 0)
    return flags is not None and _canonical(flags) and not _echoes(flags)


def _is(device: int, terminal: int) -> bool:
    return device in (terminal, os.makedev(5, 0))  # /dev/tty


def _hands_on_keys(pid: int, terminal: int) -> bool:
    for descriptor in range(3):
        file = proc.opened(pid, descriptor)
        if file is not None and stat.S_ISCHR(file.st_mode) and _is(file.st_rdev, terminal):
            flags = _flags(pid, descriptor)
            return flags is not None and not _canonical(flags)
    return False


def _flags(pid: int, descriptor: int) -> int | None:
    """The local modes of the terminal that a process has open, by termios(3); None when they are not to be seen."""
    import termios

    try:
        fd = os.open(f"/proc/{pid}/fd/{descriptor}", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found: int = termios.tcgetattr(fd)[3]
    except termios.error:
        return None
    finally:
        os.close(fd)
    return found


def _canonical(flags: int) -> bool:
    import termios

    return bool(flags & termios.ICANON)


def _echoes(flags: int) -> bool:
    import termios

    return bool(flags & termios.ECHO)


def _now() -> float:
    import time

    return time.time()
