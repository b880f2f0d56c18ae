"""Reads how far a job is: what it wrote into its directory, else the last progress bar in its log. A job may put
anything there: no link is followed, no pipe is opened, and little is read.
"""

from __future__ import annotations

import os

from gflowctl.view import jobs
from gflowd.core.job.model import EARLIEST, LATEST
from gflowd.core.job.value_base import Value
from gflowd.core.progress import report
from gflowd.effects import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from gflowd.core.job.model import Job
    from gflowd.core.progress.bar import Bar
    from gflowd.paths import State

JOB, BAR = "job", "bar"  # who says it


class Seen(Value):
    """The part that is done, from 0 to 1, what is said about it, and when; `bar` if it is the one in the log."""

    __slots__ = ("at", "bar", "fraction", "text")

    def __init__(self, fraction: float, text: str, at: float, bar: Bar | None = None) -> None:
        self.fraction: Final = fraction
        self.text: Final = text
        self.at: Final = at
        self.bar: Final = bar


class Progress(Value):
    """What is seen of the progress of a job; `expected_end`: None if it is not running, or if there is no telling, for
    a `doubt` of `core.progress.outlook`.
    """

    __slots__ = ("doubt", "expected_end", "seen")

    def __init__(self, seen: Seen, expected_end: float | None = None, doubt: str | None = None) -> None:
        self.seen: Final = seen
        self.expected_end: Final = expected_end
        self.doubt: Final = doubt

    @property
    def fraction(self) -> float:
        return self.seen.fraction

    @property
    def text(self) -> str:
        return self.seen.text

    @property
    def at(self) -> float:
        return self.seen.at

    @property
    def source(self) -> str:
        """`job`, or `bar` for one in its log."""
        return JOB if self.seen.bar is None else BAR


def seen(state: State, job: Job, *, log: bool) -> Seen | None:
    """What the present or last attempt says; None if it says nothing. `log`: look for a bar there, if need be."""
    number = jobs.attempt(job)
    found = _end(state.progress(job.id, number), report.LARGEST, first=True)
    told = None if found is None else report.parse(found[0])
    if found is not None and told is not None:
        return Seen(told.fraction, told.text, found[1])
    if not log:
        return None
    from gflowd.core.progress import bar

    found = _end(jobs.log_path(state, job, number), bar.TAIL)
    shown = None if found is None else bar.last(found[0], whole=found[2])
    return None if found is None or shown is None else Seen(shown.fraction, shown.text, found[1], shown)


def _end(path: str, most: int, *, first: bool = False) -> tuple[bytes, float, bool] | None:
    """The last or `first` bytes of a plain file, when it was written, and whether that is all of it."""
    try:
        fd = files.open_plain(path)
    except (OSError, ValueError):
        return None
    try:
        found = os.fstat(fd)
        data = os.pread(fd, most, 0 if first else max(0, found.st_size - most))
    except OSError:
        return None
    finally:
        os.close(fd)
    at = min(max(found.st_mtime, EARLIEST), LATEST)  # a job can set it to any
    return data, at, found.st_size <= most
