"""Let held jobs start; with --at, not before a given time. --at also moves the begin time of a queued job.

Name the jobs or choose them by options, which leave out all jobs that are not held. With --at, --state queued chooses
queued jobs. The id of a series (submit --repeat) means its next run.
"""

from __future__ import annotations

from gflowctl.change import applied_wish_rules, wishes
from gflowctl.options import arguments, selection
from gflowctl.options.selection import WAITING, Selection
from gflowctl.view.series_runs import NEXT
from gflowd import command_line
from gflowd.core.job.model import HELD

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    selection.add(parser, "every held job")
    parser.add_argument(
        "--at", metavar="INSTANT", help="do not start before this time, e.g. 18:30, tomorrow 9:00 or now+2h"
    )
    arguments.add_changed_json(parser)
    command_line.add_timezone(parser, command_line.READS)


def run(args: argparse.Namespace, context: Context) -> int:
    """Writes the wishes."""
    chosen = Selection(args, "release", (HELD,) if args.at is None else WAITING, usual=(HELD,), runs=NEXT)
    at = None if args.at is None else context.instant(args.at, "--at")

    outcome = wishes.apply(context, chosen, applied_wish_rules.released(at))
    wishes.report(args, outcome, ("Released", outcome.changed))
    return 0
