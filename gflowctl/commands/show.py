"""Show everything about jobs: state and reason, times, resources, how they ended, and where their output is.

For a job that was submitted in a git work tree, the commit and the branch of that moment are shown, and whether tracked
files had been modified; if that could not be found out within 20 ms, it is not known.

What an ended attempt used is shown as far as it is known, and how: a control group counts all of it, the shell knows
the CPU time of the processes that were waited for, and what was sampled every few seconds is a floor ("at least"). GPU
use is the mean that the driver reported at the polls. Of a job that failed, the last lines of its output are shown, and
if they say that CUDA ran out of memory, that is its cause.

--env prints the environment that was kept at submission. The values of variables whose names look secret (containing
TOKEN, SECRET, PASSWORD, KEY and the like) and passwords in URLs are hidden, unless --unmask is given. When the job
starts, the variables listed in gflow(7) are added.
"""

from __future__ import annotations

from gflowctl.options import arguments
from gflowctl.output import descriptions, json_records, render
from gflowctl.view import jobs, kept_submission, lookup
from gflowd import command_line
from gflowd.core.errors import BadUsage, Refused, SystemFailed
from gflowd.core.job.model import Begun, Ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Any

    from gflowctl.context import Context
    from gflowctl.view.progress import Progress
    from gflowctl.view.views import View
    from gflowd.core.job.model import Job, Spec
    from gflowd.paths import State


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    arguments.add_jobs(parser)
    parser.add_argument("--script", action="store_true", help="print the script that was kept at submission")
    parser.add_argument("--env", action="store_true", help="print the environment that was kept at submission")
    parser.add_argument("--unmask", action="store_true", help="with --env: print secrets too")
    command_line.add_timezone(parser, command_line.SHOWS)
    command_line.add_json(parser, "print a JSON list, one object for each job")


def run(args: argparse.Namespace, context: Context) -> int:
    """Prints it."""
    if args.script and args.env:
        raise BadUsage("give either --script or --env, not both")
    if args.unmask and not args.env:
        raise BadUsage("--unmask has no effect without --env")
    view = lookup.view(context, args.jobs)
    ids = view.select(args.jobs)
    whole = _arrays(view, args.jobs) if view.families and not args.json else set()
    found = [view.job(job_id) for job_id in ids if job_id in whole or view.array_of(job_id) not in whole]
    if args.json:
        render.write_json([_record(args, view, job) for job in found])
    elif args.script:
        for content in [_script(context, job) for job in found]:
            render.write_bytes(content)
    elif args.env:
        render.write("\n".join([_environment(args, context, job, named=len(found) > 1) for job in found]))
    else:
        from gflowctl.machine import explanations, job_details

        color, explain = render.use_color(args.color), explanations.Explainer(view).words
        blocks = (
            job_details.lines_of_array(view, job, explain)
            if job.id in whole
            else job_details.lines(view, job, explain, color=color)
            for job in found
        )
        render.write("\n".join(_block(lines, color=color) for lines in blocks))
    return 0


def _arrays(view: View, texts: list[str]) -> set[int]:
    """The arrays that are named by their own ids; arrays named element by element are shown by element."""
    from gflowd.core.job import array_ids

    plain = (word for word in array_ids.split(",".join(texts)) if "_" not in word and "-" not in word)
    return view.families.keys() & {view.select([word])[0] for word in plain}


def _record(args: argparse.Namespace, view: View, job: Job) -> dict[str, Any]:
    from gflowctl.output import failure_output

    words, said = failure_output.of(view, job), _said(view, job)
    found = {
        **json_records.record(view, job), **json_records.progress(said), "attempts": json_records.attempts(view, job),
        "cause": None if words is None else words.cause, "last_lines": [] if words is None else words.lines,
    }  # fmt: skip
    if job.spec.repeat is not None:
        from gflowctl.output import recurring_series

        found["next_runs"] = recurring_series.next_runs(view, job)
    if args.env:
        from gflowctl.output import environment

        found["env"] = environment.as_text(_variables(args, view.context, job))
    if args.script:
        script = job.spec.script
        found["script_text"] = None if script is None else _script(view.context, job).decode(errors="backslashreplace")
    return found


def _said(view: View, job: Job) -> Progress | None:
    return view.progress(job, singly=True) if isinstance(job.phase, (Begun, Ended)) else None


def _script(context: Context, job: Job) -> bytes:
    if job.spec.script is None:
        command = descriptions.command_line(job.spec.command)
        raise Refused(f"job {jobs.label(job)} runs a command, not a script: {command}")
    context.check_own(job.spec, jobs.label(job))
    return _kept(kept_submission.script, context, job, "script")


def _environment(args: argparse.Namespace, context: Context, job: Job, *, named: bool) -> str:
    from gflowctl.output import environment

    head = f"# job {job.id}\n" if named else ""
    found = environment.lines(_variables(args, context, job))
    return head + "".join(f"{render.escape(line)}\n" for line in found)


def _variables(args: argparse.Namespace, context: Context, job: Job) -> dict[str, str]:
    from gflowctl.output import environment

    context.check_own(job.spec, jobs.label(job))
    data = _kept(kept_submission.environment, context, job, "environment")
    return environment.variables(data, masked=not args.unmask)


def _kept(read: Callable[[State, Spec], bytes], context: Context, job: Job, what: str) -> bytes:
    try:
        return read(context.state, job.spec)
    except FileNotFoundError:
        raise Refused(f"the {what} of job {jobs.label(job)} is no longer kept") from None
    except OSError as error:
        raise SystemFailed(f"the {what} of job {jobs.label(job)}: {error.strerror}") from None


def _block(lines: list[tuple[str, str]], *, color: bool) -> str:
    wide = max(len(key) for key, _ in lines) + 1
    return "".join(f"{render.paint(f'{key}:'.ljust(wide), render.BOLD, on=color)} {text}\n" for key, text in lines)
