"""Print a job's output to the last byte; with --follow, as it is written, until the job has ended.

The output is what the job wrote to its terminal, with the line ends of a file, or the content of the file that --output
named at submission. The terminal's replies to queries of the job, e.g. for the cursor position, are not output and are
omitted. The exit status does not depend on how the job ended.

A log that outgrows [logs] max_size loses its middle: the first half of the limit and the end of the log stay, and a
line between them says how much is missing. Files named with --output and --error are never cut.
"""

from __future__ import annotations

from gflowctl.options import arguments
from gflowctl.output import follow, render
from gflowctl.view import job_log, lookup
from gflowd import command_line
from gflowd.core.errors import BadUsage

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    arguments.add_job(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="keep printing new output until the job has ended")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--first", type=command_line.count, metavar="N", help="print only the first N lines")
    group.add_argument("--last", type=command_line.count, metavar="N", help="print only the last N lines")
    parser.add_argument("--error", action="store_true", help="print the file that --error named at submission")
    parser.add_argument(
        "--attempt", type=command_line.count, metavar="N", help="print the log of this attempt (default: the last)"
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Prints it."""
    if args.follow and (args.first is not None or args.attempt is not None):
        raise BadUsage("--follow cannot be combined with --first or --attempt")
    view = lookup.view(context, [args.job])
    job_id = view.one(args.job)
    job = view.job(job_id)
    if args.follow:
        if args.error:
            job_log.check_error_file(job)
        follow.follow(context, job_id, args.last, error=args.error)
        return 0
    path, terminal = job_log.which(view, job, args.attempt, error=args.error)
    tail = follow.Tail(path, terminal=terminal)
    if not tail.open():
        job_log.explain_missing(view, job, tail.path)
        return 0
    if args.last is not None:
        tail.from_last(args.last)
    tail.copy(args.first)
    tail.finish()
    if tail.missing:
        render.note(f"{tail.missing} bytes were cut out of this log, where it says so ([logs] max_size)")
    return 0
