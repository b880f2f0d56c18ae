"""The doorbell: a FIFO that wakes the daemon's workers. A byte says what happened; no one waits for a reply.

A lost byte costs one interval, never a job: what it announces is in the snapshot or in a file.
"""

from __future__ import annotations

import os
import stat

SUBMISSION = b"q"
WISH = b"w"
ENDED = b"e"
FINDING = b"f"  # a worker's observations have changed
DECISION = b"d"  # the scheduler posted new live jobs and edges
POLL = b"p"  # the scheduler wants a fresh poll of the GPUs
EVENT = b"v"  # the scheduler wrote events, and gflow.toml has somebody told of them
NOTICE = b"n"  # it wrote events of jobs that ask for notifications
KINDS = SUBMISSION + WISH + ENDED + FINDING + DECISION + POLL + EVENT + NOTICE


def ring(path: str, kinds: bytes) -> None:
    """Writes `kinds` if anyone listens. Never blocks, never raises: the intervals are the net."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # no daemon (ENXIO), no bell (ENOENT)
    try:
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.write(fd, kinds)
    except OSError:
        pass  # full (EAGAIN): the listener already has enough to read
    finally:
        os.close(fd)


def hang(path: str) -> int:
    """Creates the doorbell, replacing anything else there; returns the non-blocking descriptor to listen on.

    Also open for writing, so that it never reads as ended. Raises OSError.
    """
    try:
        found = os.lstat(path)
        if not stat.S_ISFIFO(found.st_mode) or found.st_uid != os.geteuid():
            os.rmdir(path) if stat.S_ISDIR(found.st_mode) else os.unlink(path)
            os.mkfifo(path, 0o600)
    except FileNotFoundError:
        os.mkfifo(path, 0o600)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)


def listen(fd: int) -> bytes:
    """The kinds rung since the last call, each once."""
    heard: set[int] = set()
    while True:
        try:
            part = os.read(fd, 65536)
        except BlockingIOError:
            break
        if not part:
            break
        heard.update(part)
    return bytes(sorted(heard & set(KINDS)))
