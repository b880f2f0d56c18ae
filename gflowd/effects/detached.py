"""Jobs as plain detached process groups: the executor without tmux.

A job is our child only because a spawned child starts in a fraction of the time of a fork. It does not depend on us,
and is reaped in passing.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
from dataclasses import dataclass

from gflowd.effects import proc

CATCHABLE = [int(each) for each in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}]
NO_ROOM = (errno.EAGAIN, errno.ENOMEM)


@dataclass(frozen=True, slots=True)
class Detached:
    """A `job.sh` to start, with its output appended to `log`."""

    script: str
    log: str


class Parent:
    """Starts jobs. Mutable: remembers those that it has to reap."""

    def __init__(self) -> None:
        self._children: set[int] = set()

    def start(self, batch: list[Detached]) -> None:
        """Starts every job of the batch in a session of its own. Raises OSError if the machine cannot have more
        processes: some jobs may have been started then.
        """
        _keep_descriptors()
        for detached in batch:
            try:
                self._children.add(_spawn(detached))
            except OSError as error:
                if error.errno in NO_ROOM:
                    raise
                # Its `pid` never appears, and the start-up grace ends it.

    def reap(self) -> int:
        """Reaps the jobs that have ended; returns how many remain."""
        for pid in list(self._children):
            try:
                ended = os.waitpid(pid, os.WNOHANG)[0]
            except ChildProcessError:
                ended = pid
            if ended:
                self._children.discard(pid)
        return len(self._children)


def _keep_descriptors() -> None:
    """Jobs must not inherit our descriptors: those we were started with close at the exec, as all that we open do
    anyway.
    """
    for fd in proc.descriptors():
        with contextlib.suppress(OSError):  # that of the directory itself
            if fd > 2:
                fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)


def _spawn(detached: Detached) -> int:
    log_flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    return os.posix_spawn(
        "/bin/sh",
        ["/bin/sh", detached.script],
        {"PATH": "/usr/local/bin:/usr/bin:/bin"},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, detached.log, log_flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=CATCHABLE,
    )
