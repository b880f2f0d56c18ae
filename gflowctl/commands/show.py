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
from gflowctl.view import jobs, lookup
from gflowctl.view import reasons as why_jobs
from gflowd import command_line
from gflowd.core.errors import BadUsage, Refused, SystemFailed
from gflowd.core.job import reasons
from gflowd.core.job.model import Begun, Ended, Suspended
from gflowd.core.syntax import durations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from typing import Any

    from gflowctl.context import Context
    from gflowctl.view.views import View
    from gflowd.core.job.model import Job

    Explain = Callable[[Job, str], str]


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
        from gflowctl.machine import explanations

        color, explain = render.use_color(args.color), explanations.Explainer(view).words
        blocks = (
            _lines_of_array(view, job, explain) if job.id in whole else _lines(view, job, explain, color=color)
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
    from gflowctl.output import last_words

    words = last_words.of(view, job)
    found = {
        **json_records.record(view, job), "attempts": json_records.attempts(view, job),
        "cause": None if words is None else words.cause, "last_lines": [] if words is None else words.lines,
    }  # fmt: skip
    if job.spec.repeat is not None:
        from gflowctl.output import repeats

        found["next_runs"] = repeats.next_runs(view, job)
    if args.env:
        from gflowctl.output import environment

        found["env"] = environment.as_text(_variables(args, view.context, job))
    if args.script:
        script = job.spec.script
        found["script_text"] = None if script is None else _script(view.context, job).decode(errors="backslashreplace")
    return found


def _script(context: Context, job: Job) -> bytes:
    if job.spec.script is None:
        command = descriptions.command_line(job.spec.command)
        raise Refused(f"job {jobs.label(job)} runs a command, not a script: {command}")
    return _kept(context.state.script(job.spec.script), f"the script of job {jobs.label(job)}")


def _environment(args: argparse.Namespace, context: Context, job: Job, *, named: bool) -> str:
    from gflowctl.output import environment

    head = f"# job {job.id}\n" if named else ""
    found = environment.lines(_variables(args, context, job))
    return head + "".join(f"{render.escape(line)}\n" for line in found)


def _variables(args: argparse.Namespace, context: Context, job: Job) -> dict[str, str]:
    from gflowctl.output import environment

    data = _kept(context.state.environment(job.spec.env), f"the environment of job {jobs.label(job)}")
    return environment.variables(data, masked=not args.unmask)


def _kept(path: str, what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise Refused(f"{what} is no longer kept") from None
    except OSError as error:
        raise SystemFailed(f"{path}: {error.strerror}") from None


def _lines(view: View, job: Job, explain: Explain, *, color: bool) -> list[tuple[str, str]]:
    from gflowctl.output import last_words

    words = last_words.of(view, job)
    return [
        *_what(job),
        *_state(view, job, explain, color=color),
        *last_words.cause(words),
        *_asked(view, job),
        *_times(view, job),
        *_used(job),
        *_where(view, job),
        *_past(view, job),
        *last_words.shown(words),
    ]


def _lines_of_array(view: View, first: Job, explain: Explain) -> list[tuple[str, str]]:
    """What its elements have in common, and their states."""
    from gflowctl.output import array_summary

    return [
        *array_summary.lines(view, first, explain),
        *((key, text) for key, text in _asked(view, first) if key not in ("GPU ids", "Time left", "Attempt")),
        ("Submitted", view.clock.stamp(first.spec.submitted_at)),
        ("Directory", render.escape(first.spec.cwd)),
        *((key, text) for key, text in _where(view, first) if key in ("Conda", "Git", "Script")),
    ]


def _block(lines: list[tuple[str, str]], *, color: bool) -> str:
    wide = max(len(key) for key, _ in lines) + 1
    return "".join(f"{render.paint(f'{key}:'.ljust(wide), render.BOLD, on=color)} {text}\n" for key, text in lines)


def _what(job: Job) -> Iterator[tuple[str, str]]:
    spec = job.spec
    yield "Job", str(job.id)
    if job.array_id is not None:
        yield "Element", f"{jobs.label(job)} of array {job.array_id}"
    yield "Name", render.escape(jobs.name(job))
    yield "User", render.escape(spec.user)
    if spec.project:
        yield "Project", render.escape(spec.project)
    if spec.comment:
        yield "Comment", render.escape(spec.comment)
    yield "Command", render.escape(descriptions.command_line(jobs.command(job)))
    if values := jobs.parameters(job):
        yield "Parameters", render.escape(", ".join(f"{name}={value}" for name, value in values.items()))
    if spec.redone_from is not None:
        yield "Redone from", str(spec.redone_from)


def _state(view: View, job: Job, explain: Explain, *, color: bool) -> Iterator[tuple[str, str]]:
    found = jobs.state(job)
    yield "State", render.paint(found, render.STATE_COLORS[found], on=color)
    if why := why_jobs.reason(view, job):
        yield "Reason", render.escape(explain(job, why))
    if why_jobs.rank(view, job) is not None:
        from gflowctl.output import standing

        yield from standing.lines(view, job)
    phase = job.phase
    if isinstance(phase, Ended) and phase.exit_code is not None:
        yield "Exit code", str(phase.exit_code)
    if isinstance(phase, Ended) and phase.signal is not None:
        yield "Signal", f"{phase.signal} ({reasons.signalled(phase.signal).partition(':')[2]})"
    if job.wish.cancelled_by is not None and not isinstance(phase, Ended):
        yield "Cancelled by", render.escape(job.wish.cancelled_by)


def _asked(view: View, job: Job) -> Iterator[tuple[str, str]]:
    spec = job.spec
    yield "Resources", render.escape(descriptions.resources(spec))
    if spec.tasks is not None and spec.tasks.count is not None:
        yield "Tasks", str(spec.tasks.count)
    if whole := [what for what, asked in (("CPUs", spec.exclusive), ("memory", spec.all_memory)) if asked]:
        yield "Whole", f"all {' and '.join(whole)} of the machine (decided when it starts)"
    if job.run is not None and job.run.gpu_ids:
        yield "GPU ids", ",".join(map(str, job.run.gpu_ids))
    yield "Priority", str(spec.priority)
    if (left := view.time_left(job)) is not None:
        yield "Time left", durations.clock(left)
    if spec.early_signal is not None:
        yield "Warning", descriptions.early_signal(spec.early_signal)
    if spec.gpu_prefer:
        yield "Prefers", render.escape(f"GPUs {', '.join(spec.gpu_prefer)}")
    if spec.quiet_limit is not None:
        yield "Quiet limit", f"{durations.clock(spec.quiet_limit)} without output"
    if spec.grace is not None:
        yield "Grace", f"{spec.grace:g} s"
    if spec.needs is not None:
        from gflowctl.view import dependencies

        yield "Waits for" if jobs.is_waiting(job) else "Waited for", dependencies.words(view, job)
    if spec.retry is not None:
        yield "Retries", descriptions.retries(spec.retry)
    if spec.notify_email is not None or spec.notify_on:
        told = f"{spec.notify_email or spec.user} of {', '.join(spec.notify_on) or 'nothing'}"
        yield "Notify", render.escape(f"{told} (not sent yet)")
    if jobs.attempt(job) > 1:
        yield "Attempt", str(jobs.attempt(job))


def _times(view: View, job: Job) -> Iterator[tuple[str, str]]:
    yield "Submitted", view.clock.stamp(job.spec.submitted_at)
    if job.begin_at is not None:
        yield "Begins", f"not before {view.clock.stamp(job.begin_at)}"
    if job.spec.deadline is not None:
        yield "Deadline", view.clock.stamp(job.spec.deadline)
    if job.spec.repeat is not None:
        from gflowctl.output import repeats

        yield from repeats.lines(view, job)
    if (began := jobs.started_at(job)) is not None:
        yield "Started", view.clock.stamp(began)
    if isinstance(job.phase, Suspended):
        freed = "; its CPUs are given back" if job.phase.without_cpus else ""
        yield "Suspended", f"since {view.clock.stamp(job.phase.since_at)}{freed}"
    if (ended := jobs.ended_at(job)) is not None:
        yield "Ended", view.clock.stamp(ended)
    if (elapsed := view.elapsed(job)) is not None:
        paused = jobs.paused(job)
        yield "Elapsed", durations.clock(elapsed) + (f", without {durations.clock(paused)} suspended" if paused else "")


def _used(job: Job) -> Iterator[tuple[str, str]]:
    if isinstance(job.phase, Ended):
        from gflowctl.output import used

        yield from used.lines(job.phase.used)


def _where(view: View, job: Job) -> Iterator[tuple[str, str]]:
    spec, run = job.spec, job.run
    yield "Directory", render.escape(spec.cwd)
    if spec.git is not None:
        yield "Git", render.escape(descriptions.git_state(spec.git))
    if spec.conda_env is not None:
        yield "Conda", render.escape(spec.conda_env)
    if spec.script is not None:
        yield "Script", f"{view.context.state.script(spec.script)} (as it was at submission)"
    if spec.output is not None or run is not None:
        yield "Output", render.escape(jobs.log_path(view.context.state, job, jobs.attempt(job)))
    if spec.error is not None:
        yield "Error", render.escape(jobs.file_name(job, spec.error) or "")
    if spec.input is not None:
        yield "Input", render.escape(spec.input)
    if isinstance(job.phase, Begun):
        if (session := jobs.session(job)) is not None:
            yield "Session", session
        if job.phase.started is not None:
            yield "Process", str(job.phase.started.identity.pid)


def _past(view: View, job: Job) -> Iterator[tuple[str, str]]:
    """Each earlier attempt: how it ended, when, and where its output is."""
    from gflowctl.output import used

    for number in range(1, jobs.attempt(job)):
        past = view.past(job.id, number)
        if past is None:
            continue
        how = [past.state]
        if past.exit_code is not None:
            how.append(f"exit code {past.exit_code}")
        if past.reason is not None:
            how.append(render.escape(past.reason))
        began = "" if past.started_at is None else f"{view.clock.stamp(past.started_at)} "
        spent = f"; {brief}" if (brief := used.brief(past.used)) else ""
        yield f"Attempt {number}", f"{', '.join(how)}; {began}to {view.clock.stamp(past.ended_at)}{spent}"
        if past.started_at is not None:
            yield f"Log {number}", render.escape(jobs.log_path(view.context.state, job, number))
