"""Cancel queued jobs, and stop running ones with their whole process trees.

A running job gets SIGINT, after half its grace SIGTERM, and after its grace SIGKILL; a script with #SBATCH lines gets
SIGTERM first, without SIGINT. The command returns once the request is on disk; gflowctl wait waits for the end. Jobs
that depend on these and then can never run are cancelled too, and named; --dry-run names them beforehand. Name the jobs
or choose them by options. With several options a job must match all of them, and jobs that have ended are left out.
Naming a job that has already ended is not an error.

The id of a series (submit --repeat) means all its runs: the series ends. The id of a later run means this run alone,
and the next one comes at its time; --run says the same of the first run, whose id is that of the series. Options that
choose jobs end the series whose next run they choose.

With --signal the job is not cancelled. The signal goes at once to those of its processes that have a handler for it or
wait for it; if there are none, to the command (the shell of a script is left alone; so is any script with #SBATCH
lines). KILL, STOP and CONT go to all; so do INT and HUP if only a shell would take them.
"""

from __future__ import annotations

from gflowctl.change import lost_dependents, wishes
from gflowctl.change.cancellation import Cancellation
from gflowctl.options import arguments, selection
from gflowctl.options.selection import NOT_ENDED, Selection
from gflowctl.output import render
from gflowctl.view import jobs, series_runs, views
from gflowd.core.errors import BadUsage, Refused
from gflowd.core.job.model import RUNNING, STOPPING, SUSPENDED, Begun, Queued, Wish

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context
    from gflowd.core.job.model import Job


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    selection.add(parser, "every job that has not ended")
    parser.add_argument(
        "--run",
        action="store_true",
        dest="only_run",
        help="cancel only the run with this id, not its series",
    )
    parser.add_argument("--signal", metavar="SIG", help="only send this signal, e.g. USR1 or 10, to running jobs")
    parser.add_argument("--dry-run", action="store_true", help="show which jobs are meant, but do nothing")
    arguments.add_changed_json(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Writes the wishes."""
    if args.signal is not None:
        return _signal(args, context)
    chosen = Selection(args, "cancel", NOT_ENDED, runs=None if args.only_run else series_runs.ALL)
    if args.only_run and chosen.is_by_options:
        raise BadUsage("--run needs JOBS")
    cancelled = Cancellation(chosen)
    if args.dry_run:
        outcome = wishes.preview(context, chosen, cancelled)
        told = [("Would cancel", outcome.changed)]
    else:
        outcome = wishes.apply(context, chosen, cancelled)
        told = [
            ("Cancelled", [job for job in outcome.changed if isinstance(job.phase, Queued)]),
            ("Stopping", [job for job in outcome.changed if not isinstance(job.phase, Queued)]),
        ]
    also = lost_dependents.told(outcome.view, outcome.changed, dry=args.dry_run)
    wishes.report(args, outcome, *told, also=also)
    for number in cancelled.passed:
        render.note(f"series {number} goes on; gflowctl cancel {number} ends it")
    return 0


def _signal(args: argparse.Namespace, context: Context) -> int:
    from gflowctl.options import signals
    from gflowd.core.syntax import signal_names

    number = signals.parse(args.signal)
    name = signal_names.name(number)

    chosen = Selection(args, "cancel --signal", (RUNNING, SUSPENDED, STOPPING))
    outcome = wishes.preview(context, chosen, _signalled)
    if args.dry_run:
        wishes.report(args, outcome, (f"Would send {name} to", outcome.changed))
        return 0
    sent = signals.send(context, outcome.changed, number)
    reached = [job for job in outcome.changed if sent[job.id]]
    unheard = [job for job in outcome.changed if not sent[job.id]]
    notes = [*outcome.notes, *([wishes.said(unheard, "has no process to signal")] if unheard else [])]
    wishes.report(args, outcome.replace(changed=reached, notes=notes), (f"Sent {name} to", reached))
    return 0


def _signalled(view: views.View, job: Job) -> Wish | str:
    if view.has_ended(job.id):
        return f"has already ended ({jobs.state(job)})"
    if not isinstance(job.phase, Begun):
        raise Refused(f"is {jobs.state(job)}; only a running job can be signalled")
    return job.wish
