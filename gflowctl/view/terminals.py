"""How to open the terminal of a running job."""

from __future__ import annotations

import os

from gflowctl.view import jobs
from gflowd.core.errors import Refused
from gflowd.core.job.model import TMUX, Suspended, is_live

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflowctl.context import Context
    from gflowd.core.job.model import Job, Run

_OF_TERMINALS = ("COLORTERM", "LANG", "LC_ALL", "LC_CTYPE", "PATH", "TERM")


def attach(context: Context, job: Job, *, read_only: bool = False) -> tuple[list[str], dict[str, str]]:
    """The command, of tmux, and its environment. Raises `Refused` for a job without a terminal, or another's."""
    shared = context.state.shared is not None
    if shared and os.getuid() not in (0, job.spec.uid):
        raise Refused(f"job {jobs.label(job)} belongs to {job.spec.user}")
    session = _session(job)
    if shared and isinstance(job.phase, Suspended):  # the server of its own is in the job's control group
        name = jobs.label(job)
        raise Refused(f"job {name} is suspended, and its terminal with it; gflowctl unsuspend {name} lets it go on")
    socket = _own_socket(context, job) if shared else context.runtime.tmux_socket
    command = ["tmux", "-S", socket, "attach-session", "-t", f"={session}:", *(["-r"] if read_only else [])]
    environ = {name: value for name, value in context.environ.items() if not name.startswith("TMUX")}
    if not shared or os.getuid() == job.spec.uid:
        return command, environ
    own = {name: value for name, value in environ.items() if name in _OF_TERMINALS}
    return as_owner(job.spec.uid, job.spec.user, command, terminal=True), own


def as_owner(uid: int | None, name: str, command: list[str], *, terminal: bool = False) -> list[str]:
    """How root has `command` run as a user. Root itself is never the client of a user's server, which could have it
    open any file; on a `terminal` of its own, it cannot type on root's. Raises `Refused` where the user is another by
    now.
    """
    import pwd

    try:
        found = pwd.getpwnam(name).pw_uid
    except KeyError:
        found = None
    if found is None or found != uid:
        raise Refused(f"{name} is no longer user {uid} of this machine")
    return ["runuser", *(["--pty"] if terminal else []), f"--user={name}", "--", *command]


def _own_socket(context: Context, job: Job) -> str:
    """That of a job of one of many users."""
    assert job.run is not None
    return context.state.job_socket(job.id, job.run.attempt)


def _session(job: Job) -> str:
    name = jobs.label(job)
    if not is_live(job.phase):
        raise Refused(f"job {name} is {jobs.state(job)}, not running; gflowctl log {name} shows what it printed")
    if job.run is not None and job.run.cluster is not None:
        raise Refused(f"job {name} runs on cluster {job.run.cluster}; {_by_srun(job.run)}")
    if job.run is None or job.run.executor != TMUX:
        raise Refused(f"job {name} has no terminal (executor process); see gflowctl log -f {name}")
    if (job.spec.output or job.spec.error or job.spec.input) is not None:
        raise Refused(f"job {name} reads or writes files, not its terminal; see gflowctl log -f {name}")
    return jobs.session(job) or ""


def _by_srun(run: Run) -> str:
    """How to get a shell where an attempt runs that a cluster has."""
    if run.cluster_id is None or run.node is None:
        return "it has not started there"
    return f"srun --jobid={run.cluster_id} --overlap --pty bash opens a shell beside it, where Slurm's programs are"
