"""Let held jobs start; with --at, not before a given time. --at also moves the begin time of a queued job."""

from __future__ import annotations

from gflowctl.change import wishes
from gflowctl.options import arguments
from gflowctl.view import jobs, views
from gflowd.core.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context
    from gflowd.core.job.model import Job, Wish


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    arguments.add_jobs(parser)
    parser.add_argument(
        "--at", metavar="INSTANT", help="do not start before this time, e.g. 18:30, tomorrow 9:00 or now+2h"
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Writes the wishes."""
    at = None if args.at is None else context.instant(args.at, "--at")

    def released(view: views.View, job: Job) -> Wish | str:
        if jobs.is_waiting(job):
            wish = job.wish.replace(held=False, released_at=view.now) if job.wish.held else job.wish
            if at is not None:
                return wish.replace(begin_at=at)
            return wish if job.wish.held else "is not held"
        if at is not None:
            raise Refused(f"is {jobs.state(job)}; only a queued job has a begin time")
        return f"is not held ({jobs.state(job)})"

    outcome = wishes.apply(context, lambda view: view.select(args.jobs), released)
    wishes.tell("Released", outcome.changed)
    wishes.note(outcome)
    return 0
