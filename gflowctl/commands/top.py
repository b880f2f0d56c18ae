"""Move queued jobs to the front of the queue, before jobs of any priority; the most recently moved comes first.

Jobs named together keep their order. A held job stays held, and is at the front once it is released.

Name the jobs or choose them by options, which leave out all jobs that are not queued.
"""

from __future__ import annotations

import time

from gflowctl.change import wishes
from gflowctl.options import arguments, selection
from gflowctl.options.selection import WAITING, Selection
from gflowctl.view import jobs, views
from gflowctl.view.runs import NEXT
from gflowd.core.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context
    from gflowd.core.job.model import Job, Wish


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    selection.add(parser, "every queued job")
    arguments.add_changed_json(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Writes the wishes."""
    now = time.time()

    def put_first(_view: views.View, job: Job) -> Wish:
        if not jobs.is_waiting(job):
            raise Refused(f"is {jobs.state(job)}; only queued jobs can be moved to the front")
        return job.wish.replace(top_at=now)

    outcome = wishes.apply(context, Selection(args, "top", WAITING, runs=NEXT), put_first)
    wishes.report(args, outcome, ("Moved to the front:", outcome.changed))
    return 0
