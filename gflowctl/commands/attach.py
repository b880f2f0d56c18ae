"""Open the terminal of a running job, live. Detach with Ctrl-b d; the job goes on.

Where all users of a machine share one gflowd, a terminal opens for the job's user and for root only.
"""

from __future__ import annotations

import os

from gflowctl.options import arguments
from gflowctl.output import render
from gflowctl.view import terminals, views
from gflowd.core.errors import SystemFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    arguments.add_job(parser)
    parser.add_argument("-r", "--read-only", action="store_true", help="only watch; all keys but detach do nothing")


def run(args: argparse.Namespace, context: Context) -> int:
    """Becomes tmux."""
    view = views.View(context, context.store.read())
    command, environ = terminals.attach(context, view.job(view.one(args.job)), read_only=args.read_only)
    render.flush()
    try:
        os.execvpe(command[0], command, environ)  # noqa: S606 -- no shell is wanted
    except FileNotFoundError:
        raise SystemFailed(f"{command[0]} is not installed") from None
