"""How programs name jobs, as the words that users write."""

from __future__ import annotations

from collections.abc import Iterable

from gflowctl.api.values import Job
from gflowd.core.errors import BadUsage

JobName = int | str | Job
Jobs = JobName | Iterable[JobName]


def words_of(jobs: Jobs) -> list[str]:
    """The words for one or several jobs: a number or text means what it means to gflowctl, so the id of an array means
    all of it; a `Job` means itself alone. Raises `BadUsage`.
    """
    several = (jobs,) if isinstance(jobs, int | str | Job) else jobs
    return [_word(job) for job in several]


def text_of(jobs: Jobs) -> str:
    """The same as one text."""
    return ",".join(words_of(jobs))


def _word(job: object) -> str:
    if isinstance(job, Job):
        return job.label
    if isinstance(job, str) or (isinstance(job, int) and not isinstance(job, bool)):
        return str(job)
    raise BadUsage(f"{job!r} names no job")
