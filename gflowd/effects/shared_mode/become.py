"""Becomes a user for good, with narrow bounds, and does one thing there. A program, run by `python3 -I -S`.

    become.py UID GID GROUP remove PATH...        removes what is at these paths, and in them
    become.py UID GID GROUP cut DIRECTORY BYTES   cuts the log there back to so many bytes

It enters the control group GROUP first; where that is empty, systemd has started it as that user. It runs no other
program, so that its user cannot trace it unless systemd has started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_NO_NEW_PRIVS = 38
CPU_TIME = 600  # seconds
MEMORY = 1 << 30  # bytes of addresses
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


def main(words: list[str]) -> int:
    """Becomes the user and does as told."""
    uid, gid, group, action, *rest = words
    do = ACTIONS[action]()  # imported as root, who may read a clone in its home
    if group:
        _become(int(uid), int(gid), group)
    if os.getresuid() != (int(uid),) * 3:
        return 125
    return do(rest)


def _become(uid: int, gid: int, group: str) -> None:
    fd = os.open(os.path.join(group, "cgroup.procs"), os.O_WRONLY)
    os.write(fd, b"0")
    os.close(fd)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_TIME, CPU_TIME))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(10)
    os.setgroups([gid])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _removing() -> Callable[[list[str]], int]:
    from gflowd.effects.shared_mode import tree_removal

    return lambda paths: int(not min(map(tree_removal.remove, paths), default=True))


def _cutting() -> Callable[[list[str]], int]:
    from gflowd.effects.attempt import joblog

    def cut(words: list[str]) -> int:
        directory, limit = words
        with contextlib.suppress(FileNotFoundError):  # it wrote nothing, or never began
            joblog.trim(directory, int(limit))
        return 0

    return cut


ACTIONS = {"remove": _removing, "cut": _cutting}


if __name__ == "__main__":
    sys.path.insert(0, ROOT)
    sys.exit(main(sys.argv[1:]))
