"""One job as a user sees it: its state, exit status, labels and files. `views` knows which jobs exist."""

from __future__ import annotations

from gflowd.core.job.model import (
    CANCELLED,
    FINISHED,
    TIMEOUT,
    TMUX,
    Ended,
    Job,
    Queued,
    Running,
    Stopping,
    Suspended,
    session_name,
)
from gflowd.core.syntax import filename_patterns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gflowd.paths import State

SIGNALLED = 128
STATUS_TIMEOUT = 124  # as timeout(1)
STATUS_CANCELLED = 130  # as a shell after Ctrl-C
STATUS_OUT_OF_MEMORY = 137  # as a shell after SIGKILL
OUT_OF_MEMORY = "OutOfMemory"
LONGEST_LABELS = 100  # characters
NAMED = 10  # jobs, where the labels of all would be longer


def state(job: Job) -> str:
    """One of `model.STATES`; a queued job with a cancel wish already counts as cancelled, since it will not start."""
    return job.wanted_state


def is_waiting(job: Job) -> bool:
    """Whether it is queued or held."""
    return job.is_waiting


def started_at(job: Job) -> float | None:
    """When its command began; None before that."""
    if isinstance(job.phase, Ended):
        return job.phase.started_at
    if isinstance(job.phase, (Running, Suspended, Stopping)) and job.phase.started is not None:
        return job.phase.started.at
    return None


def ended_at(job: Job) -> float | None:
    """When it was over; None before that."""
    if isinstance(job.phase, Ended):
        return job.phase.ended_at
    return job.wish.cancelled_at if isinstance(job.phase, Queued) else None


def paused(job: Job) -> float:
    """The seconds for which its present or last attempt was suspended, without a suspension that goes on."""
    if isinstance(job.phase, (Running, Suspended, Stopping)):
        return job.phase.pauses.seconds
    return job.phase.paused if isinstance(job.phase, Ended) else 0.0


def exit_status(job: Job) -> int:
    """The exit status of `wait` for a job that has ended."""
    found, phase = state(job), job.phase
    if found == CANCELLED or not isinstance(phase, Ended):
        return STATUS_CANCELLED
    if found == TIMEOUT:
        return STATUS_TIMEOUT
    if found == FINISHED:
        return 0
    if phase.reason == OUT_OF_MEMORY:
        return STATUS_OUT_OF_MEMORY
    if phase.signal is not None:
        return SIGNALLED + phase.signal
    return phase.exit_code or 1


def index(job: Job) -> int | None:
    """Its index in its array; None if it is in none."""
    if job.array_id is None:
        return None
    from gflowd.core.job import array_task

    return array_task.index(job)


def label(job: Job) -> str:
    """`42`, or `42_3` for an element of an array."""
    return str(job.id) if job.array_id is None else f"{job.array_id}_{index(job)}"


def labels(found: Iterable[Job]) -> str:
    """Several jobs, named as briefly as possible: `3-5,42_[1-100]`."""
    from gflowd.core.syntax import job_ids

    alone: list[int] = []
    by_array: dict[int, list[Job]] = {}
    for job in found:
        if job.array_id is None:
            alone.append(job.id)
        else:
            by_array.setdefault(job.array_id, []).append(job)
    shown = [job_ids.show(alone)] if alone else []
    return ",".join([*shown, *(_elements(by_array[each]) for each in sorted(by_array))])


def some_labels(found: Sequence[Job]) -> str:
    """The labels of jobs; of many the first ones and how many more."""
    ordered = sorted(found, key=lambda job: job.id)
    named = labels(ordered)
    if len(named) <= LONGEST_LABELS:
        return named
    return f"{labels(ordered[:NAMED])} and {len(ordered) - NAMED} more"


def _elements(found: list[Job]) -> str:
    from gflowd.core.job import array_ids

    family, array_id = found[0].spec.family, found[0].array_id
    assert family is not None
    assert array_id is not None
    return array_ids.name(family, array_id, sorted(job.id for job in found))


def name(job: Job) -> str:
    """Its name, which a template may have made."""
    if job.array_id is None or job.spec.name_template is None:
        return job.spec.name
    from gflowd.core.job import array_task

    return array_task.name(job)


def command(job: Job) -> tuple[str, ...]:
    """Its command, with the parameters of a sweep filled in."""
    if job.array_id is None:
        return job.spec.command
    from gflowd.core.job import array_task

    return array_task.command(job)


def parameters(job: Job) -> dict[str, str]:
    """The parameters that a sweep gives it."""
    if job.array_id is None:
        return {}
    from gflowd.core.job import array_task

    return array_task.parameters(job)


def session(job: Job) -> str | None:
    """The name of its tmux session, whether or not it still exists."""
    run = job.run
    return session_name(job.id, run.attempt) if run is not None and run.executor == TMUX else None


def cluster(job: Job) -> str | None:
    """The cluster that its present or last attempt was handed over to, or before the first that it is meant for."""
    return job.spec.cluster if job.run is None else job.run.cluster


def attempt(job: Job) -> int:
    """The present or last attempt, from 1."""
    return job.attempt


def file_name(job: Job, pattern: str | None) -> str | None:
    """The file that one of the job's patterns means."""
    if pattern is None:
        return None
    if job.array_id is None:
        return filename_patterns.expand(pattern, job_id=job.id, name=job.spec.name, user=job.spec.user)
    return filename_patterns.expand(
        pattern, job_id=job.id, name=name(job), user=job.spec.user, array_id=job.array_id, index=index(job) or 0
    )


def log_path(place: State, job: Job, number: int) -> str:
    """Where the output of an attempt goes, or went."""
    return file_name(job, job.spec.output) or place.job_log(job.id, number)


def is_terminal_log(job: Job, past: Ended | None = None) -> bool:
    """Whether the log of its last attempt, or of a `past` one, has a tmux session's line ends."""
    run = job.run if past is None else past.run
    return job.spec.output is None and run is not None and (run.executor == TMUX or job.spec.pty)
