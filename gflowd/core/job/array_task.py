"""One element of an array or sweep: its index, parameters, name and command. Other jobs are unchanged."""

from __future__ import annotations

from gflowd.core.job import arrays
from gflowd.core.syntax import templates

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflowd.core.job.model import Job


def index(job: Job) -> int | None:
    """The index of an element, as its user knows it."""
    if job.array_id is None or job.spec.family is None:
        return None
    return arrays.index_of(job.spec.family, job.id - job.array_id)


def label(job: Job) -> str:
    """`42`, or `42_3` for an element of an array."""
    return str(job.id) if job.array_id is None else f"{job.array_id}_{index(job)}"


def parameters(job: Job) -> dict[str, str]:
    """The values of a sweep's parameters."""
    if job.array_id is None or job.spec.family is None:
        return {}
    return arrays.parameters(job.spec.family, job.id - job.array_id)


def name(job: Job) -> str:
    """The job's name; `--name-template` may make one of parameters and `{index}`."""
    if job.spec.name_template is None or job.array_id is None:
        return job.spec.name
    values = {"index": str(index(job)), "name": job.spec.name, **parameters(job)}
    return templates.expand_template(job.spec.name_template, values)


def command(job: Job) -> tuple[str, ...]:
    """The command with the parameters filled in."""
    values = parameters(job)
    return templates.expand_command(job.spec.command, values) if values else job.spec.command
