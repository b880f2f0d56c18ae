"""Jobs as JSON: the documented form of `queue --json`, and of what `show --json` adds to it."""

from __future__ import annotations

from gflowctl.output.render import rfc3339
from gflowctl.view import jobs, reasons
from gflowd.core.job.model import Begun, Ended, Suspended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflowctl.view.progress import Progress
    from gflowctl.view.views import View
    from gflowd.core.job.dependencies import Needs
    from gflowd.core.job.model import Job


TIMES = (
    "begin_at", "submitted_at", "started_at", "ended_at", "expected_start", "deadline", "suspended_at",
    "promised_start", "estimated_start", "progress_at", "expected_end",
)  # fmt: skip
PROGRESS = ("progress", "progress_text", "progress_at", "progress_source", "expected_end")


def record(view: View, job: Job) -> dict[str, Any]:
    """The job as `queue --json` shows it: `values`, with times in words."""
    found = values(view, job)
    for name in TIMES:
        if (at := found[name]) is not None:
            found[name] = rfc3339(at)
    if (repeat := found["repeat"]) is not None:
        repeat["due_at"] = rfc3339(repeat["due_at"])
    return found


def values(view: View, job: Job) -> dict[str, Any]:
    """All about a job by name, times in seconds since the epoch; what gflow cannot do yet is None or empty."""
    spec, phase, run = job.spec, job.phase, job.run
    ended = phase if isinstance(phase, Ended) else None
    running = phase if isinstance(phase, Begun) else None
    started = running.started if running is not None else None
    needs, retry = spec.needs, spec.retry
    passing = passing_values(view, job)
    return {
        "id": job.id, "array_id": job.array_id, "array_index": jobs.index(job), "name": jobs.name(job),
        "user": spec.user, "project": spec.project, "comment": spec.comment, "state": jobs.state(job),
        "reason": passing["reason"],
        "command": list(jobs.command(job)), "script": spec.script and view.context.state.script(spec.script, spec.uid),
        "cwd": spec.cwd, "params": jobs.parameters(job), "gpus": spec.gpus,
        "gpu_ids": list(run.gpu_ids) if run is not None else [], "gpu_memory_mb": spec.gpu_memory_mb,
        "shared": spec.shared,
        "cpus": spec.cpus, "memory_mb": spec.memory_mb,
        "time_limit": spec.time_limit, "time_left": passing["time_left"], "priority": spec.priority,
        "dependencies": _dependencies(needs), "dependency_mode": None if needs is None else needs.mode,
        "begin_at": job.begin_at,
        "submitted_at": spec.submitted_at, "started_at": jobs.started_at(job),
        "ended_at": jobs.ended_at(job), "expected_start": passing["expected_start"],
        "exit_code": ended.exit_code if ended is not None else None,
        "signal": ended.signal if ended is not None else None, "attempt": jobs.attempt(job),
        "max_retries": 0 if retry is None else retry.max_retries, "redone_from": spec.redone_from,
        "group": job.array_id, "max_concurrent": view.max_concurrent(job), "session": jobs.session(job),
        "pid": started.identity.pid if started is not None else None,
        "output": jobs.file_name(job, spec.output), "error": jobs.file_name(job, spec.error),
        "gpu_type": spec.gpu_type, "gpu_prefer": list(spec.gpu_prefer), "deadline": spec.deadline,
        "quiet_limit": spec.quiet_limit, "conda_env": spec.conda_env,
        "early_signal": None if spec.early_signal is None else spec.early_signal.fields(),
        "suspended_at": phase.since_at if isinstance(phase, Suspended) else None,
        "suspended_seconds": jobs.paused(job),
        **{name: passing[name] for name in ("rank", "score", "promised_start", "estimated_start")},
        "git": None if spec.git is None else spec.git.fields(),
        "repeat": _repeat(job),
        "log": _log(view, job),
        **_submitted(view, job),
        "cancelled_by": job.wish.cancelled_by,
        "used": _used(ended),
        **{name: passing[name] for name in PROGRESS},
        "cluster": jobs.cluster(job), "cluster_id": None if run is None else run.cluster_id,
        "node": None if run is None else run.node,
    }  # fmt: skip


def progress(found: Progress | None) -> dict[str, Any]:
    """How far a job is, with times in words; null where that is not known."""
    known = _progress(found)
    return known | {name: rfc3339(known[name]) for name in ("progress_at", "expected_end")}


def _progress(found: Progress | None) -> dict[str, Any]:
    if found is None:
        return dict.fromkeys(PROGRESS)
    return {
        "progress": round(found.fraction, 6), "progress_text": found.text, "progress_at": found.at,
        "progress_source": found.source, "expected_end": found.expected_end,
    }  # fmt: skip


def passing_values(view: View, job: Job) -> dict[str, Any]:
    """Those of `values` that change while no record of the job does: with the time, with what the daemon saw, with what
    the job says.
    """
    rank, points = reasons.rank(view, job), None
    if rank is not None:
        from gflowctl.output import place_in_line

        points = place_in_line.points(view, job)
    return {
        "reason": reasons.reason(view, job), "time_left": view.time_left(job),
        "expected_start": reasons.expected_start(view, job), "rank": rank, "score": points,
        "promised_start": reasons.promised_start(view, job), "estimated_start": reasons.estimated_start(view, job),
        **_progress(view.progress(job) if isinstance(job.phase, Begun) else None),
    }  # fmt: skip


def _log(view: View, job: Job) -> str | None:
    """Where the output of its present or last attempt is; None before the first, unless the submission said where."""
    if job.run is None and job.spec.output is None:
        return None
    return jobs.log_path(view.context.state, job, jobs.attempt(job))


def _submitted(view: View, job: Job) -> dict[str, Any]:
    """What was submitted and is not told by what became of it. `executor`: that of the attempt, if there is one; null
    stands for what gflowd is set to.
    """
    spec, retry = job.spec, job.spec.retry
    return {
        "executor": spec.executor if job.run is None else job.run.executor, "grace": spec.grace,
        "retry_on": [] if retry is None else list(retry.on),
        "retry_delay": None if retry is None else retry.delay,
        "retry_factor": None if retry is None else retry.factor,
        "auto_cancel": None if spec.needs is None else spec.needs.auto_cancel,
        "input": spec.input, "append": spec.append, "submit_dir": spec.submit_dir or spec.cwd,
        "environment": view.context.state.environment(spec.env, spec.uid), "umask": f"{spec.umask:04o}",
        "max_failures": None if spec.family is None else spec.family.max_failures,
        "name_template": spec.name_template,
        "notify_email": spec.notify_email, "notify_on": list(spec.notify_on),
        "notify": [*map(_redacted, spec.notify)],
        "tasks": None if spec.tasks is None else spec.tasks.fields(), "exclusive": spec.exclusive,
    }  # fmt: skip


def _redacted(url: str) -> str:
    from gflowd.core.syntax import addresses

    return addresses.redacted(url)


def _repeat(job: Job) -> dict[str, Any] | None:
    if job.spec.repeat is None:
        return None
    from gflowctl.output import recurring_series

    return recurring_series.values(job)


def _dependencies(needs: Needs | None) -> list[dict[str, object]]:
    """`{kind, id}` of each, with `delay` in seconds where there is one."""
    if needs is None:
        return []
    from gflowd.core.job import dependencies

    return [dependencies.encode_one(each) for each in needs.dependencies]


def _used(ended: Ended | None) -> dict[str, object] | None:
    """What an attempt used, as far as it is known; null before its end."""
    return None if ended is None or ended.used is None else ended.used.fields()


def attempts(view: View, job: Job) -> list[dict[str, Any]]:
    """As `past_attempts`, with times in words."""
    return [
        each | {name: rfc3339(each[name]) for name in ("started_at", "ended_at")} for each in past_attempts(view, job)
    ]


def past_attempts(view: View, job: Job) -> list[dict[str, Any]]:
    """The earlier attempts that have left a record, each as far as it is known."""
    found = ((number, view.past(job.id, number)) for number in range(1, jobs.attempt(job)))
    return [
        {
            "attempt": number, "state": past.state, "reason": past.reason, "exit_code": past.exit_code,
            "signal": past.signal, "gpu_ids": [] if past.run is None else list(past.run.gpu_ids),
            "started_at": past.started_at, "ended_at": past.ended_at,
            "log": jobs.log_path(view.context.state, job, number), "used": _used(past),
        }
        for number, past in found
        if past is not None
    ]  # fmt: skip
