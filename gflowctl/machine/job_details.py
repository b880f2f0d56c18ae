"""Everything about a job or an array, by title: what `gflowctl show` prints, and other displays show too.

Characters that do not print are written as escapes.
"""

from __future__ import annotations

from gflowctl.output import descriptions, render
from gflowctl.view import jobs
from gflowctl.view import reasons as why_jobs
from gflowd.core.job import reasons
from gflowd.core.job.model import Begun, Ended, Suspended
from gflowd.core.syntax import durations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gflowctl.view.views import View
    from gflowd.core.job.model import Job

    Explain = Callable[[Job, str], str]


def lines(view: View, job: Job, explain: Explain, *, color: bool = False) -> list[tuple[str, str]]:
    """Of a job; `explain` says what a reason means."""
    from gflowctl.output import failure_output

    words = failure_output.of(view, job)
    return [
        *_what(job),
        *_state(view, job, explain, color=color),
        *failure_output.cause(words),
        *_progress(view, job),
        *_asked(view, job),
        *_times(view, job),
        *_used(job),
        *_where(view, job),
        *_past(view, job),
        *failure_output.shown(words),
    ]


def lines_of_array(view: View, first: Job, explain: Explain) -> list[tuple[str, str]]:
    """Of an array: what its elements have in common, and their states; `first` is its first element."""
    from gflowctl.output import array_summary

    return [
        *array_summary.lines(view, first, explain),
        *((key, text) for key, text in _asked(view, first) if key not in ("GPU ids", "Time left", "Attempt")),
        ("Submitted", view.clock.stamp(first.spec.submitted_at)),
        *((key, text) for key, text in _where(view, first) if key in ("Directory", "Conda", "Git", "Script")),
    ]


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
        from gflowctl.output import place_in_line

        yield from place_in_line.lines(view, job)
    phase = job.phase
    if isinstance(phase, Ended) and phase.exit_code is not None:
        yield "Exit code", str(phase.exit_code)
    if isinstance(phase, Ended) and phase.signal is not None:
        yield "Signal", f"{phase.signal} ({reasons.signalled(phase.signal).partition(':')[2]})"
    if job.wish.cancelled_by is not None and not isinstance(phase, Ended):
        yield "Cancelled by", render.escape(job.wish.cancelled_by)


def _progress(view: View, job: Job) -> Iterator[tuple[str, str]]:
    if isinstance(job.phase, (Begun, Ended)):
        from gflowctl.output import progress

        yield from progress.lines(view, job)


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
        yield "Notify", render.escape(descriptions.notification(spec))
    if jobs.attempt(job) > 1:
        yield "Attempt", str(jobs.attempt(job))


def _times(view: View, job: Job) -> Iterator[tuple[str, str]]:
    yield "Submitted", view.clock.stamp(job.spec.submitted_at)
    if job.begin_at is not None:
        yield "Begins", f"not before {view.clock.stamp(job.begin_at)}"
    if job.spec.deadline is not None:
        yield "Deadline", view.clock.stamp(job.spec.deadline)
    if job.spec.repeat is not None:
        from gflowctl.output import recurring_series

        yield from recurring_series.lines(view, job)
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
        from gflowctl.output import resource_usage

        yield from resource_usage.lines(job.phase.used)


def _where(view: View, job: Job) -> Iterator[tuple[str, str]]:
    spec, run = job.spec, job.run
    if not descriptions.is_hidden(spec.command):
        yield "Directory", render.escape(spec.cwd)
    if (on := descriptions.cluster(job)) is not None:
        yield "Cluster", render.escape(on)
    if spec.git is not None:
        yield "Git", render.escape(descriptions.git_state(spec.git))
    if spec.conda_env is not None:
        yield "Conda", render.escape(spec.conda_env)
    if spec.script is not None:
        yield "Script", f"{view.context.state.script(spec.script, spec.uid)} (as it was at submission)"
    if spec.output is not None or run is not None:
        yield "Output", render.escape(jobs.log_path(view.context.state, job, jobs.attempt(job)))
    if spec.error is not None:
        yield "Error", render.escape(jobs.file_name(job, spec.error) or "")
    if spec.input is not None:
        yield "Input", render.escape(spec.input)
    if isinstance(job.phase, Begun):
        if (session := jobs.session(job)) is not None:
            yield "Session", session
        if job.phase.started is not None and job.phase.run.cluster is None:
            yield "Process", str(job.phase.started.identity.pid)


def _past(view: View, job: Job) -> Iterator[tuple[str, str]]:
    """Each earlier attempt: how it ended, when, and where its output is."""
    from gflowctl.output import resource_usage

    for number in range(1, jobs.attempt(job)):
        past = view.past(job.id, number)
        if past is None:
            continue
        how = [past.state]
        if past.exit_code is not None:
            how.append(f"exit code {past.exit_code}")
        if past.reason is not None:
            how.append(render.escape(past.reason))
        if past.run is not None and past.run.cluster is not None:
            how.append(render.escape(f"on {past.run.cluster}, there job {past.run.cluster_id or 'without a number'}"))
        began = "" if past.started_at is None else f"{view.clock.stamp(past.started_at)} "
        spent = f"; {brief}" if (brief := resource_usage.brief(past.used)) else ""
        yield f"Attempt {number}", f"{', '.join(how)}; {began}to {view.clock.stamp(past.ended_at)}{spent}"
        if past.started_at is not None:
            yield f"Log {number}", render.escape(jobs.log_path(view.context.state, job, number))
