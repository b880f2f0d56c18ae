"""Cancel queued jobs, and stop running ones with their whole process trees.

A running job gets SIGINT, after half its grace SIGTERM, and after its grace SIGKILL. The command returns once the
request is on disk; gflowctl wait waits for the end. Jobs that depend on these and then can never run are cancelled too,
and named; --dry-run names them beforehand. Name the jobs or choose them by options. With several options a job
must match all of them, and jobs that have ended are left out. Naming a job that has already ended is not an error.

With --signal the job is not cancelled. The signal goes at once to those of its processes that have a handler for it or
wait for it; if there are none, to the command (the shell of a script is left alone). KILL, STOP and CONT go to all.
"""

from __future__ import annotations

import time

from gflowctl.change import falls, wishes
from gflowctl.options import arguments
from gflowctl.output import descriptions
from gflowctl.view import jobs, views
from gflowd import command_line
from gflowd.core.errors import BadUsage, Refused
from gflowd.core.job.model import Begun, Queued, Stopping, Wish

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context
    from gflowd.core.job.model import Job


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    arguments.add_jobs(parser, nargs="*")
    parser.add_argument("--all", action="store_true", help="every job that has not ended")
    parser.add_argument("-n", "--name", type=command_line.words, metavar="NAME,...", help="jobs with these names")
    parser.add_argument("-u", "--user", type=command_line.words, metavar="USER,...", help="jobs of these users")
    parser.add_argument("-s", "--state", type=command_line.words, metavar="STATE,...", help="jobs in these states")
    parser.add_argument("--signal", metavar="SIG", help="only send this signal, e.g. USR1 or 10, to running jobs")
    parser.add_argument("--dry-run", action="store_true", help="show which jobs are meant, but do nothing")


def run(args: argparse.Namespace, context: Context) -> int:
    """Writes the wishes."""
    chosen = args.all or args.name or args.user or args.state
    if bool(args.jobs) == bool(chosen):
        raise BadUsage("name the jobs to cancel, or choose them with --all, --name, --user or --state")
    states = set(descriptions.states(args.state))

    def select(view: views.View) -> list[int]:
        if args.jobs:
            return view.select(args.jobs)
        return [job_id for job_id in view.ids() if not view.has_ended(job_id) and fits(view.job(job_id))]

    def fits(job: Job) -> bool:
        return (
            (not args.name or jobs.name(job) in args.name)
            and (not args.user or job.spec.user in args.user)
            and (not states or jobs.state(job) in states)
        )

    if args.signal is not None:
        return _signal(args, context, select)
    if args.dry_run:
        outcome = wishes.preview(context, select, _cancelled)
        wishes.tell("Would cancel", outcome.changed)
    else:
        outcome = wishes.apply(context, select, _cancelled)
        wishes.tell("Cancelled", [job for job in outcome.changed if isinstance(job.phase, Queued)])
        wishes.tell("Stopping", [job for job in outcome.changed if not isinstance(job.phase, Queued)])
    falls.tell(outcome.view, outcome.changed, dry=args.dry_run)
    wishes.note(outcome)
    return 0


def _cancelled(view: views.View, job: Job) -> Wish | str:
    if view.has_ended(job.id):
        return f"has already ended ({jobs.state(job)})"
    if job.wish.cancelled_at is not None:
        return "is already being cancelled"
    goes_on = job.spec.retry is not None or job.wish.requeued
    if isinstance(job.phase, Stopping) and not goes_on:
        return f"is already being stopped ({job.phase.why})"
    return job.wish.replace(cancelled_by=view.context.user, cancelled_at=time.time(), requeued=0)


def _signal(args: argparse.Namespace, context: Context, select: wishes.Select) -> int:
    from gflowctl.options import signals
    from gflowd.core.syntax import signal_names

    number = signals.parse(args.signal)
    name = signal_names.name(number)

    def reachable(view: views.View) -> list[int]:
        found = select(view)
        return list(found) if args.jobs else [each for each in found if isinstance(view.phase(each), Begun)]

    outcome, unreached = wishes.preview(context, reachable, _signalled), list[str]()
    if args.dry_run:
        wishes.tell(f"Would send {name} to", outcome.changed)
    else:
        sent = signals.send(context, outcome.changed, number)
        wishes.tell(f"Sent {name} to", [job for job in outcome.changed if sent[job.id]])
        if unheard := [job for job in outcome.changed if not sent[job.id]]:
            unreached.append(wishes.said(unheard, "has no process to signal"))
    wishes.note(outcome, *unreached)
    return 0


def _signalled(view: views.View, job: Job) -> Wish | str:
    if view.has_ended(job.id):
        return f"has already ended ({jobs.state(job)})"
    if not isinstance(job.phase, Begun):
        raise Refused(f"is {jobs.state(job)}; only a running job can be signalled")
    return job.wish
