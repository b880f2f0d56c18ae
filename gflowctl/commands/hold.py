"""Keep queued jobs from starting until gflowctl release. A job that has started cannot be held.

Name the jobs or choose them by options, which leave out all jobs that are not queued. The id of a
series (submit --repeat) means its next run; while that is held, no other run comes.
"""

from __future__ import annotations

from gflowctl.change import applied_wish_rules, wishes
from gflowctl.options import arguments, selection
from gflowctl.options.selection import WAITING, Selection
from gflowctl.view.series_runs import NEXT

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    selection.add(parser, "every queued job")
    arguments.add_changed_json(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Writes the wishes."""
    outcome = wishes.apply(context, Selection(args, "hold", WAITING, runs=NEXT), applied_wish_rules.held)
    wishes.report(args, outcome, ("Held", outcome.changed))
    return 0
