"""Jobs as plain detached process groups: the executor where there is no tmux, or none is wanted.

A job is nobody's child that could die with it: a go-between starts the whole batch and ends at once.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Detached:
    """A `job.sh` to start, with its output appended to `log`."""

    script: str
    log: str


def start(batch: list[Detached]) -> None:
    """Starts every job of the batch in a session of its own. Raises OSError when the go-between did not get through:
    some jobs may have been started then.
    """
    go_between = os.fork()
    if go_between:
        if status := os.waitpid(go_between, 0)[1]:
            raise OSError(f"the process that starts jobs ended with wait status {status}")
        return
    try:
        os.umask(0o077)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # what we were started with is no job's business
        for detached in batch:
            try:
                _spawn(detached)
            except OSError:
                continue  # its `pid` never appears, and the start-up grace ends it
    finally:
        os._exit(0)


def _spawn(detached: Detached) -> None:
    log_flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    os.posix_spawn(
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
        setsigdef=[n for n in signal.valid_signals() if n not in (signal.SIGKILL, signal.SIGSTOP)],
    )
