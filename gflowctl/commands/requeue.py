"""Run jobs once more under the same id: stop a running job first, queue an ended one again.

Jobs that depend on the job wait for its new attempt. The run counts as one more attempt, and each attempt keeps its
log. If the job was being cancelled, it no longer is. A job that could no longer end by its --deadline is left alone. To
make a new job with another id, use gflowctl redo.

Name the jobs or choose them by options, which leave out queued jobs. Jobs that have ended are chosen only if --state
says so, e.g. --state failed, and as long as they are not in the history.
"""

from __future__ import annotations

from gflowctl.change import applied_wish_rules, wishes
from gflowctl.options import arguments, selection
from gflowctl.options.selection import LIVE, Selection
from gflowd.core.job.model import ENDED_STATES

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    selection.add(parser, "every job that has started and not ended")
    arguments.add_changed_json(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Writes the wishes."""
    outcome = wishes.apply(
        context, Selection(args, "requeue", (*LIVE, *ENDED_STATES), usual=LIVE), applied_wish_rules.requeued
    )
    wishes.report(args, outcome, ("Requeued", outcome.changed))
    return 0
