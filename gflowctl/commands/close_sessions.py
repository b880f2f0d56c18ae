"""Close terminal sessions that ended jobs left behind. To end a running job, use gflowctl cancel."""

from __future__ import annotations

import re

from gflowctl.admin import sessions
from gflowctl.options import arguments
from gflowctl.output import descriptions, render
from gflowctl.view import jobs, views
from gflowd import command_line
from gflowd.core.errors import BadUsage, Refused
from gflowd.core.syntax import job_ids
from gflowd.core.syntax.plurals import noun

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    arguments.add_jobs(parser, nargs="*")
    parser.add_argument("--all", action="store_true", help="of all jobs that have ended")
    parser.add_argument(
        "-s", "--state", type=command_line.words, metavar="STATE,...", help="of jobs in these end states"
    )
    parser.add_argument(
        "--pattern", metavar="TEXT", help="of ended jobs whose name or session matches this regular expression"
    )
    command_line.add_json(parser, "print the closed sessions as a JSON list")


def run(args: argparse.Namespace, context: Context) -> int:
    """Closes them."""
    if bool(args.jobs) == bool(args.all or args.state or args.pattern):
        raise BadUsage("name the jobs, or choose them with --all, --state or --pattern")
    pattern = _pattern(args.pattern)
    states = set(descriptions.states(args.state))
    view = views.View(context, context.store.read())
    named = view.select(args.jobs) if args.jobs else None
    _refuse_others(view, context.uid, named or ())
    _refuse_live(view, named or ())
    closed: list[tuple[str, int]] = []
    for each in sessions.found(context, map(view.job, named or view.ids())):
        wanted = each.job_id in named if named is not None else _fits(view, each.name, each.job_id, states, pattern)
        if wanted and sessions.close(each):
            closed.append((each.name, each.job_id))
    if args.json:
        render.write_json([{"id": job_id, "session": name} for name, job_id in closed])
    else:
        _tell([job_id for _, job_id in closed])
    return 0


def _pattern(text: str | None) -> re.Pattern[str] | None:
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise BadUsage(f"--pattern: {text!r} is not a regular expression ({error})") from None


def _refuse_live(view: views.View, ids: list[int] | tuple[int, ...]) -> None:
    live = [job_id for job_id in ids if not view.has_ended(job_id)]
    if live:
        shown = jobs.labels(map(view.job, live))
        raise Refused(f"{noun(len(live), 'job')} {shown} not ended; gflowctl cancel {shown} stops a job")


def _refuse_others(view: views.View, uid: int | None, ids: list[int] | tuple[int, ...]) -> None:
    """`uid`: the user, where many share one gflow."""
    for job in map(view.job, ids):
        if uid and job.spec.uid != uid:
            raise Refused(f"job {jobs.label(job)} belongs to {job.spec.user}")


def _fits(view: views.View, name: str, job_id: int, states: set[str], pattern: re.Pattern[str] | None) -> bool:
    """Whether a session is a leftover that the options select. A session of an unknown job has no state."""
    if not view.knows(job_id):
        return not states and (pattern is None or bool(pattern.search(name)))
    if not view.has_ended(job_id):
        return False
    job = view.job(job_id)
    if states and jobs.state(job) not in states:
        return False
    return pattern is None or bool(pattern.search(name) or pattern.search(jobs.name(job)))


def _tell(closed: list[int]) -> None:
    if closed:
        render.write(f"Closed the session of {noun(len(set(closed)), 'job')} {job_ids.show(closed)}\n")
    else:
        render.note("no session to close")
