"""Open the terminal of a running job, live. Detach with Ctrl-b d; the job goes on."""

from __future__ import annotations

import os

from gflowctl.options import arguments
from gflowctl.output import render
from gflowctl.view import jobs, views
from gflowd.core.errors import Refused, SystemFailed
from gflowd.core.job.model import TMUX, is_live

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context
    from gflowd.core.job.model import Job


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    arguments.add_job(parser)
    parser.add_argument("-r", "--read-only", action="store_true", help="only watch; all keys but detach do nothing")


def run(args: argparse.Namespace, context: Context) -> int:
    """Becomes tmux."""
    view = views.View(context, context.store.read())
    session = _session(view.job(view.one(args.job)))
    render.flush()
    command = ["tmux", "-S", context.runtime.tmux_socket, "attach-session", "-t", f"={session}:"]
    if args.read_only:
        command.append("-r")
    environ = {name: value for name, value in context.environ.items() if not name.startswith("TMUX")}
    try:
        os.execvpe(command[0], command, environ)  # noqa: S606 -- no shell is wanted
    except FileNotFoundError:
        raise SystemFailed("tmux is not installed") from None


def _session(job: Job) -> str:
    name = jobs.label(job)
    if not is_live(job.phase):
        raise Refused(f"job {name} is {jobs.state(job)}, not running; gflowctl log {name} shows what it printed")
    if job.run is None or job.run.executor != TMUX:
        raise Refused(f"job {name} has no terminal (executor process); see gflowctl log -f {name}")
    if (job.spec.output or job.spec.error or job.spec.input) is not None:
        raise Refused(f"job {name} reads or writes files, not its terminal; see gflowctl log -f {name}")
    return jobs.session(job) or ""
