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
PATH = "/usr/local/bin:/usr/bin:/bin"
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
        log_flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        self._spawn([(["/bin/sh", each.script], (each.log, log_flags, 0o600)) for each in batch])

    def start_programs(self, batch: list[list[str]]) -> None:
        """Starts every program of the batch likewise; nobody reads what they print. Raises OSError."""
        self._spawn([(words, (os.devnull, os.O_WRONLY, 0)) for words in batch])

    def _spawn(self, batch: list[tuple[list[str], tuple[str, int, int]]]) -> None:
        _keep_descriptors()
        for words, output in batch:
            try:
                self._children.add(_spawn(words, output))
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


def _spawn(words: list[str], output: tuple[str, int, int]) -> int:
    return os.posix_spawn(
        words[0],
        words,
        {"PATH": PATH},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, *output),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=CATCHABLE,
    )
