"""Pieces of the output of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gflowctl.api.values import LogPiece
from gflowctl.view import job_log, jobs
from gflowd.core.job.model import Queued

if TYPE_CHECKING:
    from gflowctl.view.views import View
    from gflowd.core.job.model import Job


class Opened(NamedTuple):
    """The log of an attempt. `is_over`: nobody writes it any more."""

    log: job_log.JobLog
    job: int
    attempt: int
    is_there: bool
    is_over: bool


def opened(view: View, job: Job, attempt: int | None, *, error: bool) -> Opened:
    """Opens it. Raises `Refused` if there can be none, or no longer is."""
    path, terminal = job_log.which(view, job, attempt, error=error)
    last = jobs.attempt(job)
    number = attempt or (last - 1 if isinstance(job.phase, Queued) else last)
    log = job_log.JobLog(path, terminal=terminal)
    is_there = log.open()
    if not is_there:
        job_log.explain_missing(view, job, path)
    return Opened(log, job.id, number, is_there, number < last or view.has_ended(job.id))


def piece(found: Opened, *, after: int, lines: int | None, most: int) -> LogPiece:
    """A part of it; closes it."""
    log = found.log
    if not found.is_there:
        return LogPiece(found.job, found.attempt, log.path, b"", after, is_over=False, missing=0)
    try:
        if lines is not None:
            log.from_last(lines, most - 1)
        else:
            log.from_byte(after)
        parts, left, is_end = [], most, False
        while left > 0 and not is_end:
            size = min(left, job_log.BLOCK)
            part = log.read(size)
            is_end = part is None
            parts.append(part or b"")
            left -= size
        if lines is not None and not is_end:
            part = log.read(1)
            is_end = part is None
            parts.append(part or b"")
        is_over = is_end and found.is_over
        if is_over:
            parts.append(log.rest())
        return LogPiece(found.job, found.attempt, log.path, b"".join(parts), log.position(), is_over, log.missing)
    finally:
        log.close()
