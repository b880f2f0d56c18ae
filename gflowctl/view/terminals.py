"""How to open the terminal of a running job."""

from __future__ import annotations

from gflowctl.view import jobs
from gflowd.core.errors import Refused
from gflowd.core.job.model import TMUX, is_live

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflowctl.context import Context
    from gflowd.core.job.model import Job


def attach(context: Context, job: Job, *, read_only: bool = False) -> tuple[list[str], dict[str, str]]:
    """The command, of tmux, and its environment. Raises `Refused` for a job without a terminal."""
    command = ["tmux", "-S", context.runtime.tmux_socket, "attach-session", "-t", f"={_session(job)}:"]
    environ = {name: value for name, value in context.environ.items() if not name.startswith("TMUX")}
    return [*command, *(["-r"] if read_only else [])], environ


def _session(job: Job) -> str:
    name = jobs.label(job)
    if not is_live(job.phase):
        raise Refused(f"job {name} is {jobs.state(job)}, not running; gflowctl log {name} shows what it printed")
    if job.run is None or job.run.executor != TMUX:
        raise Refused(f"job {name} has no terminal (executor process); see gflowctl log -f {name}")
    if (job.spec.output or job.spec.error or job.spec.input) is not None:
        raise Refused(f"job {name} reads or writes files, not its terminal; see gflowctl log -f {name}")
    return jobs.session(job) or ""
