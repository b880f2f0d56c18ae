"""The files that a job's output goes to, beside its log. Names them, opens none."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from gflowd.core.job import array_task
from gflowd.core.syntax import filename_patterns

if TYPE_CHECKING:
    from gflowd.core.job.model import Job


def path(job: Job, pattern: str) -> str:
    """The absolute path that a pattern of a job means."""
    name = filename_patterns.expand(
        pattern,
        job_id=job.id,
        name=array_task.name(job),
        user=job.spec.user,
        array_id=job.array_id,
        index=array_task.index(job) or 0,
    )
    return posixpath.join(job.spec.cwd, name)


def paths(job: Job) -> tuple[str, ...]:
    """Those of its standard output and standard error; none for what goes to the log."""
    return tuple(dict.fromkeys(path(job, each) for each in (job.spec.output, job.spec.error) if each is not None))
