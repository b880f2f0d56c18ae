"""Starts processes for a test and ends all that came of them, however deep and detached: slurmd's jobs outlive slurmd.

It is their subreaper, so whatever loses its parent becomes its child. It reads lines of JSON, answers each with one,
and ends everything by its pid when its input ends or its parent dies. Knows nothing of Slurm.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from contextlib import suppress

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def keep() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests
    signal.signal(signal.SIGCHLD, lambda *_: reap())
    try:
        for line in sys.stdin:
            asked = json.loads(line)
            print(json.dumps(start(**asked)), flush=True)
    finally:
        end_all()


def start(words: list[str], log: str) -> int:
    """The pid of the new process, which leads a session of its own."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.execvp(words[0], words)
    finally:
        os._exit(127)


def reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def end_all() -> None:
    """Kills all below us, again until none is left: they may start others meanwhile."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while left := below(os.getpid()):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def below(top: int) -> list[int]:
    """The living processes that descend from `top`."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
                if fields[0] not in b"ZX" or int(fields[17]) > 1:  # or a leader whose threads live on
                    parents[int(name)] = int(fields[1])
    found, new = [], {top}
    while new := {pid for pid, parent in parents.items() if parent in new}:
        found += new
    return found


if __name__ == "__main__":
    keep()
