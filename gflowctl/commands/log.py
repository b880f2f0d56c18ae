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
from gflowctl.view import jobs, lookup, reasons, views
from gflowd import command_line
from gflowd.core.errors import BadUsage, Refused
from gflowd.core.job.model import Ended, Queued

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context
    from gflowd.core.job.model import Job


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
    if args.error and job.spec.error is None:
        raise Refused(f"job {jobs.label(job)} has no separate error file; its errors are in its output")
    if args.follow:
        follow.follow(context, job_id, args.last, error=args.error)
        return 0
    tail = _tail(args, context, view, job)
    if not tail.open():
        _explain_missing(view, job, tail.path)
        return 0
    if args.last is not None:
        tail.from_last(args.last)
    tail.copy(args.first)
    tail.finish()
    if tail.missing:
        render.note(f"{tail.missing} bytes were cut out of this log, where it says so ([logs] max_size)")
    return 0


def _tail(args: argparse.Namespace, context: Context, view: views.View, job: Job) -> follow.Tail:
    last, named = jobs.attempt(job), f"job {jobs.label(job)}"
    if args.attempt is not None and not 1 <= args.attempt <= last:
        raise Refused(f"{named} has no attempt {args.attempt}; its last is {last}")
    if isinstance(job.phase, Queued) and args.attempt == last > 1:
        raise Refused(f"attempt {last} of {named} has not started ({jobs.state(job)}, {reasons.reason(view, job)})")
    if jobs.is_waiting(job) and last == 1:
        why = reasons.reason(view, job)
        raise Refused(f"{named} has not started ({jobs.state(job)}, {why}); --follow waits for it")
    if isinstance(job.phase, Queued) and last == 1:
        raise Refused(f"{named} never started ({jobs.state(job)}); it has no log")
    if args.error:
        return follow.Tail(jobs.file_name(job, job.spec.error) or "", terminal=False)
    number = args.attempt or (last - 1 if isinstance(job.phase, Queued) else last)
    past = view.past(job.id, number) if number < last else None
    return follow.Tail(jobs.log_path(context.state, job, number), terminal=jobs.is_terminal_log(job, past))


def _explain_missing(view: views.View, job: Job, path: str) -> None:
    """While the job may still write a log, a missing one counts as empty; afterwards it is reported."""
    if isinstance(job.phase, Ended):
        if job.phase.started_at is None:
            why = reasons.reason(view, job)
            raise Refused(f"job {jobs.label(job)} never started ({jobs.state(job)}, {why}); it has no log")
        raise Refused(f"the output of job {jobs.label(job)} is no longer there: {path}")
