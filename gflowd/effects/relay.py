"""The directory that connects a job with the `gflowctl run` that it belongs to, and ends with.

`alive`, a named pipe that gflowctl holds open as long as it lives; `tty`, a link to the job's end of a terminal that
gflowctl has made, or the named pipes `in`, `out` and `err`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time

ALIVE, TTY, IN, OUT, ERR = "alive", "tty", "in", "out", "err"
PIPES = (IN, OUT, ERR)
BLIND = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # we cannot look, which says nothing about gflowctl
FRESH = 60.0  # seconds: a directory may be so new that nobody holds it yet
_BOTH_WAYS = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC


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


def watch(directory: str) -> int | None:
    """A descriptor that becomes readable when gflowctl is gone; None if it is, or if we are out of descriptors."""
    try:
        return _open_to_watch(directory)
    except OSError:
        return None


def _open_to_watch(directory: str) -> int:
    return os.open(os.path.join(directory, ALIVE), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)


def is_over(watched: int) -> bool:
    """Whether gflowctl is gone; `watched` is what `watch` gave."""
    try:
        return os.read(watched, 1) == b""
    except OSError:
        return False


def is_held(directory: str) -> bool:
    """Whether gflowctl lives."""
    try:
        fd = _open_to_watch(directory)
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
