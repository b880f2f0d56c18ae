"""The tmux sessions of jobs, on the private server of the user's gflow or, where many users share one, each on a server
of its own: lists them and ends one.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from typing import NamedTuple

from gflowctl.view import terminals
from gflowd.core.errors import Refused, SystemFailed
from gflowd.core.job.model import TMUX, session_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gflowctl.context import Context
    from gflowd.core.job.model import Job
    from gflowd.paths import State

PATIENCE = 5.0  # seconds
_NAME = re.compile(r"gflow-([0-9]+)(?:-([0-9]+))?")
_NO_SERVER = ("no server running", "error connecting")


class Session(NamedTuple):
    """A session named after a job; of many users, whose `uid` it is."""

    name: str
    job_id: int
    socket: str
    uid: int | None = None


def found(context: Context, jobs: Iterable[Job]) -> list[Session]:
    """Those that the user may end; of many users, those of `jobs`. Raises `SystemFailed`."""
    if context.state.shared is not None:
        return list(_of_many(context.state, jobs))
    socket = context.runtime.tmux_socket
    if not os.path.exists(socket):
        return []
    return [Session(name, job_id, socket) for name, job_id in of_jobs(socket).items()]


def of_jobs(socket: str) -> dict[str, int]:
    """The sessions named after a job, with the job's id; none if no server runs. Raises `SystemFailed`."""
    listed = _tmux(["tmux", "-S", socket, "list-sessions", "-F", "#{session_name}"])
    found = {}
    for name in listed.stdout.splitlines():
        if match := _NAME.fullmatch(name):
            found[name] = int(match[1])
    return found


def close(session: Session) -> bool:
    """Ends exactly this session; returns whether it existed. Raises `SystemFailed`."""
    command = ["tmux", "-S", session.socket, "kill-session", "-t", f"={session.name}:"]
    if session.uid in (None, os.getuid()):
        done = _tmux(command)
        if session.uid is not None and any(each in done.stderr for each in _NO_SERVER):
            with contextlib.suppress(OSError):
                os.unlink(session.socket)  # of a server that was killed
        return done.returncode == 0
    try:
        return _tmux(terminals.as_owner(session.uid, _name_of(session.uid), command)).returncode == 0
    except Refused:  # the user is gone, and so are all processes of theirs
        return False


def _of_many(state: State, jobs: Iterable[Job]) -> Iterator[Session]:
    """Of the user, or of all where that is root: with the last process of an attempt its server has ended, too."""
    for job in jobs:
        uid, run = job.spec.uid, job.run
        if run is None or run.executor != TMUX or uid is None or os.getuid() not in (0, uid):
            continue
        if os.path.lexists(socket := state.job_socket(job.id, run.attempt)):
            yield Session(session_name(job.id, run.attempt), job.id, socket, uid)


def _name_of(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        raise Refused(f"user {uid} is no longer a user of this machine") from None


def _tmux(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError:
        raise SystemFailed(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        socket = command[command.index("-S") + 1]
        raise SystemFailed(f"tmux on {socket} did not answer within {PATIENCE:g} s") from None
