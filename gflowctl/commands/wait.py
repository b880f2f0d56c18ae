"""Wait until jobs have ended, and exit with the greatest of their exit statuses; with --for running, until they run.

The status of a job is its exit code, 128+N if signal N ended it, 124 for its time limit, 137 if it ran out of memory,
130 if it was cancelled, and 1 if it failed without an exit code. With --any the status is that of the first job to end.
If --timeout passes first, the status is 75. A job that runs, or has run, counts as 0 with --for running; one that ended
before it could run counts with its own status.

Name the jobs or choose them by options. These choose among the jobs that have not ended when the command begins; if
there is none, the status is 0.
"""

from __future__ import annotations

from gflowctl.options import selection
from gflowctl.options.selection import NOT_ENDED, Selection
from gflowctl.output import follow, render
from gflowctl.view import jobs, views
from gflowd import command_line
from gflowd.core.errors import TryAgain
from gflowd.core.job.model import RUNNING
from gflowd.core.syntax.plurals import noun

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context


ENDED = "ended"
EVENTS = (RUNNING, ENDED)


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    selection.add(parser, "every job that has not ended")
    parser.add_argument(
        "--for", choices=EVENTS, default=ENDED, metavar="EVENT", dest="event",
        help="what to wait for: running or ended (default ended)",
    )  # fmt: skip
    parser.add_argument("--any", action="store_true", help="wait only for the first of the jobs")
    parser.add_argument(
        "--timeout", type=command_line.duration, metavar="DUR", help="give up after this long, e.g. 90s or 2h"
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Waits."""
    view = views.View(context, context.store.read())
    chosen = Selection(args, "wait", NOT_ENDED)
    ids = chosen.select(view)
    if not ids:
        render.note(chosen.nothing())
        return 0
    runs = args.event == RUNNING
    status = follow.wait(context, ids, running=runs, first=args.any, timeout=args.timeout)
    if status is None:
        which = f"{noun(len(ids), 'job')} {jobs.labels(map(view.job, ids))}"
        raise TryAgain(f"{which} did not {'run' if runs else 'end'} within {args.timeout:g} s")
    return status
