"""The directory that connects a job with the `gflowctl run` that it belongs to, and ends with.

`alive`, a named pipe that gflowctl holds open as long as it lives; `tty`, a link to the job's end of a terminal that
gflowctl has made, or the named pipes `in`, `out` and `err`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable

ALIVE, TTY, IN, OUT, ERR = "alive", "tty", "in", "out", "err"
PIPES = (IN, OUT, ERR)
BLIND = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # we cannot look, which says nothing about gflowctl
FRESH = 60.0  # seconds: a directory may be so new that nobody holds it yet
_BOTH_WAYS = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC


def _open_to_watch(directory: str, name: str) -> int:
    return os.open(os.path.join(directory, name), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)


Opener = Callable[[str, str], int]  # as above: others open more carefully what is not ours


def make(directory: str, tty: int | None = None) -> int:
    """Makes it, with a link to the descriptor `tty` or with pipes; returns what holds `alive` open. Raises OSError."""
    os.mkdir(directory, 0o700)
    for name in (ALIVE, *(PIPES if tty is None else ())):
        os.mkfifo(os.path.join(directory, name), 0o600)
    if tty is not None:
        os.symlink(f"/proc/{os.getpid()}/fd/{tty}", os.path.join(directory, TTY))
    return os.open(os.path.join(directory, ALIVE), _BOTH_WAYS)


def open_pipe(directory: str, name: str) -> int:
    """One of its pipes, open at both ends, which never waits. Raises OSError."""
    return os.open(os.path.join(directory, name), _BOTH_WAYS)


def open_to_feed(directory: str) -> tuple[int, int]:
    """The pipe `in`: an end to write to, whose closing the job sees, and one that keeps what was written until the job
    reads. Raises OSError.
    """
    path = os.path.join(directory, IN)
    kept = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC), kept


def watch(directory: str, open_pipe: Opener = _open_to_watch) -> int | None:
    """A descriptor that becomes readable when gflowctl is gone; None if it is, or if we are out of descriptors."""
    try:
        return open_pipe(directory, ALIVE)
    except OSError:
        return None


def is_over(watched: int) -> bool:
    """Whether gflowctl is gone; `watched` is what `watch` gave. It writes nothing there, so who does is not gflowctl,
    and would keep us busy.
    """
    try:
        os.read(watched, 1)
    except OSError:
        return False
    return True


def is_held(directory: str, open_pipe: Opener = _open_to_watch) -> bool:
    """Whether gflowctl lives."""
    try:
        fd = open_pipe(directory, ALIVE)
    except OSError as error:
        return error.errno in BLIND
    try:
        return not is_over(fd)
    finally:
        os.close(fd)


def remove(directory: str) -> None:
    """Removes it, as far as it is there."""
    for name in (TTY, *PIPES, ALIVE):
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(directory, name))
    with contextlib.suppress(OSError):
        os.rmdir(directory)


def remove_left(place: str) -> None:
    """Removes those below `place` that killed processes have left."""
    with contextlib.suppress(OSError), os.scandir(place) as found:
        for each in found:
            if time.time() - each.stat(follow_symlinks=False).st_mtime > FRESH and not is_held(each.path):
                remove(each.path)
