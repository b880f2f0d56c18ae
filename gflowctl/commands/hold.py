"""Keep queued jobs from starting until gflowctl release. A job that has started cannot be held."""

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


def run(args: argparse.Namespace, context: Context) -> int:
    """Writes the wishes."""
    outcome = wishes.apply(context, lambda view: view.select(args.jobs), _held)
    wishes.tell("Held", outcome.changed)
    wishes.note(outcome)
    return 0


def _held(_view: views.View, job: Job) -> Wish | str:
    if not jobs.is_waiting(job):
        raise Refused(f"is {jobs.state(job)}; only queued jobs can be held")
    return "is already held" if job.wish.held else job.wish.replace(held=True)
