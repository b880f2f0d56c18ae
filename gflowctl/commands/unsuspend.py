"""Let suspended jobs go on. A job whose CPUs were given back goes on when they are free, before any queued job.

Name the jobs or choose them by options, which leave out all jobs that are not suspended.
"""

from __future__ import annotations

from gflowctl.change import applied_wish_rules, wishes
from gflowctl.options import arguments, selection
from gflowctl.options.selection import Selection
from gflowd.core.job.model import RUNNING, STARTING, SUSPENDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    selection.add(parser, "every suspended job")
    arguments.add_changed_json(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Writes the wishes."""
    outcome = wishes.apply(
        context, Selection(args, "unsuspend", (STARTING, RUNNING, SUSPENDED)), applied_wish_rules.going_on
    )
    wishes.report(args, outcome, ("Unsuspended", outcome.changed))
    return 0
