"""What programs give as arguments: how they name jobs, as the words that users write; lists of words, and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeVar

from gflowctl.api.values import Job
from gflowd.core.errors import BadUsage

JobName = int | str | Job
Jobs = JobName | Iterable[JobName]
Number = TypeVar("Number", int, float)


def words_of(jobs: Jobs) -> list[str]:
    """The words for one or several jobs: a number or text means what it means to gflowctl, so the id of an array means
    all of it; a `Job` means itself alone. Raises `BadUsage`.
    """
    several = (jobs,) if isinstance(jobs, int | str | Job) else jobs
    if isinstance(several, bytes | bytearray | memoryview) or not isinstance(several, Iterable):  # bytes are numbers
        raise BadUsage(f"{jobs!r} names no job")
    return [_word(job) for job in several]


def word_of(job: JobName) -> str:
    """The word for one job. Raises `BadUsage`."""
    words = words_of(job)
    if len(words) != 1:
        raise BadUsage(f"{job!r} does not name one job")
    return words[0]


def text_of(jobs: Jobs) -> str:
    """The same as one text."""
    return ",".join(words_of(jobs))


def _word(job: object) -> str:
    if isinstance(job, Job):
        return job.label
    if isinstance(job, str) or (isinstance(job, int) and not isinstance(job, bool)):
        return str(job)
    raise BadUsage(f"{job!r} names no job")


def texts(name: str, given: Any) -> list[str]:
    """A list of words; of a single text this one word. Raises `BadUsage`."""
    found = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else [given]
    if not all(isinstance(each, str) for each in found):
        raise BadUsage(f"{name}: {given!r} is not a list of texts")
    return found


def number(name: str, given: Number | None, *, whole: bool = False) -> Number | None:
    """The same, where it is a number. Raises `BadUsage`."""
    kind = int if whole else int | float
    if given is not None and (not isinstance(given, kind) or isinstance(given, bool) or math.isnan(given)):
        raise BadUsage(f"{name}: {given!r} is not a {'whole ' if whole else ''}number")
    return given
