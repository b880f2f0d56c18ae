"""Runs a command while busy loops run beside it: `busy.py LOOPS COMMAND...`. They end with it, and with us."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1


def spin(us: int) -> None:
    """Takes a processor for as long as we live, even where we are killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    while os.getppid() == us:
        pass


def main(loops: int, command: list[str]) -> int:
    us, pids = os.getpid(), []
    for _ in range(loops):
        pid = os.fork()
        if pid == 0:
            spin(us)
            os._exit(0)
        pids.append(pid)
    try:
        return subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        return 130
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
