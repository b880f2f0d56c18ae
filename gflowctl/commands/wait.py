"""Wait until jobs have ended, and exit with the greatest of their exit statuses.

The status of a job is its exit code, 128+N if signal N ended it, 124 for its time limit, 137 if it ran out of memory,
130 if it was cancelled, and 1 if it failed without an exit code. With --any the status is that of the first job to end.
If --timeout passes first, the status is 75.
"""

from __future__ import annotations

from gflowctl.options import arguments
from gflowctl.output import follow
from gflowctl.view import jobs, views
from gflowd import command_line
from gflowd.core.errors import TryAgain
from gflowd.core.syntax.plurals import noun

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    arguments.add_jobs(parser)
    parser.add_argument("--any", action="store_true", help="wait only for the first of the jobs to end")
    parser.add_argument(
        "--timeout", type=command_line.duration, metavar="DUR", help="give up after this long, e.g. 90s or 2h"
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Waits."""
    view = views.View(context, context.store.read())
    ids = view.select(args.jobs)
    status = follow.wait(context, ids, first=args.any, timeout=args.timeout)
    if status is None:
        which = f"{noun(len(ids), 'job')} {jobs.labels(map(view.job, ids))}"
        raise TryAgain(f"{which} did not end within {args.timeout:g} s")
    return status
