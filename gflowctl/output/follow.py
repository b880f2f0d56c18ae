"""Waits for jobs and shows their output as it is written. Polls the snapshot's stat, which costs microseconds."""

from __future__ import annotations

import time

from gflowctl.output import render
from gflowctl.view import job_log, jobs, views
from gflowd.core.errors import Refused
from gflowd.core.job.model import Queued
from gflowd.core.job.records import PHASE, is_live
from gflowd.core.syntax.plurals import noun
from gflowd.storage.store import Follower

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowctl.context import Context
    from gflowd.core.job.model import Job


def pause(waited: float) -> float:
    """How long to sleep between two polls after `waited` seconds."""
    if waited < 1:
        return 0.01
    return 0.05 if waited < 11 else 0.2


class Watch:
    """The jobs of a snapshot, read repeatedly."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.follower = Follower(context.store)
        self.touched: set[int | str] | None = None  # what changed at the last read; None: anything may have changed
        self._news: set[int | str] | None = None

    def look(self) -> views.View:
        """The jobs as they are now."""
        self.changed()
        self.touched, self._news = self._news, set()
        return views.View(self.context, self.follower.fold)

    def changed(self) -> bool:
        """Whether anything may have changed since the last read."""
        keys = self.follower.catch_up()
        if keys is None:
            self._news = None
        elif self._news is not None:
            self._news.update(key for _, key in keys)
        return keys != []


def wait(
    context: Context, ids: Sequence[int], *, running: bool = False, first: bool = False, timeout: float | None = None
) -> int | None:
    """Waits until all of `ids` have ended; returns the greatest exit status, or with `first` that of the first to end.

    With `running`, until they run or have run, which counts as 0; with `first` as well, until one of them does. None if
    `timeout` seconds pass first. Raises `Refused` in the end where the history has forgotten some of them.
    """
    watch = Watch(context)
    try:
        return _wait(watch, ids, running=running, first=first, timeout=timeout)
    finally:
        watch.follower.close()


def _wait(watch: Watch, ids: Sequence[int], *, running: bool, first: bool, timeout: float | None) -> int | None:
    begun = time.monotonic()
    left = dict.fromkeys(ids)
    forgotten: list[int] = []
    worst = 0
    while True:
        if watch.changed():
            view = watch.look()
            touched = list(left) if watch.touched is None else [each for each in left if each in watch.touched]
            for job_id in touched:
                if not view.knows(job_id):  # it has ended, was archived, and removed from there
                    forgotten.append(job_id)
                    del left[job_id]
                    continue
                status = _status(view, job_id, running=running)
                if status is None:
                    continue
                if first and not (running and status):
                    return status
                worst = max(worst, status)
                del left[job_id]
        waited = time.monotonic() - begun
        if forgotten and (first or not left):
            raise unknown(forgotten)
        if not left:
            return worst
        if timeout is not None and waited >= timeout:
            return None
        time.sleep(pause(waited) if timeout is None else min(pause(waited), timeout - waited))


def _status(view: views.View, job_id: int, *, running: bool) -> int | None:
    """What `wait` makes of a job; None as long as it has to wait."""
    ended = view.has_ended(job_id)
    if (
        running
        and (ended or is_live(view.records.of(PHASE).get(job_id)))
        and jobs.started_at(view.job(job_id)) is not None
    ):
        return 0
    return view.exit_status(job_id) if ended else None


def unknown(ids: Sequence[int]) -> Refused:
    """What is said of jobs that were there and have left the history, too."""
    which = f"{noun(len(ids), 'job')} {', '.join(map(str, ids))}"
    its = "its end" if len(ids) == 1 else "their ends"
    return Refused(f"{which} ended and left the history ([history] keep) meanwhile; {its} cannot be told any more")


class Tail(job_log.JobLog):
    """Copies a growing log to stdout."""

    def copy(self, lines: int | None = None) -> bool:
        """Prints what is there, at most `lines` lines; returns whether there was anything."""
        some = False
        while (lines is None or lines > 0) and (data := self.read()) is not None:
            some = True
            if lines is not None:
                data, lines = _first(data, lines)
            render.write_bytes(data)
        return some

    def finish(self) -> None:
        """Prints what was held back and closes the file."""
        self.close()
        if held := self.rest():
            render.write_bytes(held)


def _first(data: bytes, lines: int) -> tuple[bytes, int]:
    """The part of `data` within `lines` lines, and how many lines remain."""
    place = 0
    while lines and (found := data.find(b"\n", place)) >= 0:
        place, lines = found + 1, lines - 1
    return (data if lines else data[:place]), lines


def follow(context: Context, job_id: int, last: int | None = None, *, error: bool = False) -> Job:
    """Prints a job's output, from its last `last` lines if given, until it has ended; returns the ended job."""
    watch = Watch(context)
    view = watch.look()
    tail, shown, idle = None, 0, time.monotonic()
    while True:
        if not view.knows(job_id):
            raise unknown([job_id])
        over = view.has_ended(job_id)
        job = view.job(job_id)
        if not isinstance(job.phase, Queued) and job.run is not None and job.run.attempt != shown:
            if tail is not None:
                _drain(tail)
            shown = job.run.attempt
            tail = _tail(context, job, shown, error=error)
            tail, last = _begin(tail, last)
        if tail is not None and tail.open() and tail.copy():
            idle = time.monotonic()
        if over:
            if tail is not None:
                _drain(tail)
            return job
        time.sleep(pause(time.monotonic() - idle))
        if watch.changed():
            view = watch.look()


def _tail(context: Context, job: Job, attempt: int, *, error: bool) -> Tail:
    """Of the output of an attempt; with `error` of the file of its errors."""
    if error and (path := jobs.file_name(job, job.spec.error)) is not None:
        return Tail(path, terminal=False)
    job_log.check_own(context, job)
    return Tail(jobs.log_path(context.state, job, attempt), terminal=jobs.is_terminal_log(job))


def _begin(tail: Tail, last: int | None) -> tuple[Tail, None]:
    """`--last` applies to the attempt present at the start; later attempts are shown in full."""
    if last is not None and tail.open():
        tail.from_last(last)
    return tail, None


def _drain(tail: Tail) -> None:
    if tail.open():
        tail.copy()
    tail.finish()
