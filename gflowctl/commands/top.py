"""Move queued jobs to the front of the queue, before jobs of any priority; the most recently moved comes first.

Jobs named together keep their order. A held job stays held, and is at the front once it is released.

Name the jobs or choose them by options, which leave out all jobs that are not queued.
"""

from __future__ import annotations

import time

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
    outcome = wishes.apply(
        context, Selection(args, "top", WAITING, runs=NEXT), applied_wish_rules.put_first(time.time())
    )
    wishes.report(args, outcome, ("Moved to the front:", outcome.changed))
    return 0
