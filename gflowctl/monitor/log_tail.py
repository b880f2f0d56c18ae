"""The end of a job's log, followed as it grows. Reads no more of it than is shown, however long it is."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowctl.monitor.log_text import LogText
from gflowctl.view import jobs
from gflowctl.view.job_log import open_log
from gflowctl.view.transcript import Transcript
from gflowd.core.errors import Refused
from gflowd.core.job.model import Queued

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowctl.monitor.log_text import Line
    from gflowd.core.job.model import Job
    from gflowd.paths import State

FIRST = 1 << 18  # bytes of the end that are read at first
MOST = 1 << 20  # bytes at a time: of more, only the end is shown
LINES = 5000
LONGEST_OPEN = 1 << 16  # bytes of a line that has not ended


@dataclass(frozen=True, slots=True)
class Log:
    """What is shown of a log, the file `path`. `omitted`: there is more before; `trouble`: why there is none."""

    job_id: int
    path: str
    lines: Sequence[Line] = ()
    omitted: bool = False
    trouble: str | None = None


class LogTail:
    """The log of an attempt. Mutable, for one thread."""

    def __init__(self, state: State, job: Job) -> None:
        self.job_id = job.id
        self.path = path_of(state, job)
        self._terminal = jobs.is_terminal_log(job)
        self._start()
        self._file = (0, 0, 0)

    def is_of(self, state: State, job: Job) -> bool:
        """Whether it is the log of what the job does now."""
        return job.id == self.job_id and path_of(state, job) == self.path

    def read(self) -> Log | None:
        """The log with what was added; None if there is nothing new."""
        try:
            fd = open_log(self.path)
        except Refused as error:
            return self._said(str(error))
        if fd is None:
            return self._said("there is no output yet")
        try:
            return self._read(fd)
        except OSError as error:
            return self._said(error.strerror or "it cannot be read")
        finally:
            os.close(fd)

    def _start(self) -> None:
        self._transcript = Transcript() if self._terminal else None
        self._text = LogText()
        self._lines: deque[Line] = deque(maxlen=LINES)
        self._open = b""  # of a line that has not ended
        self._at, self._omitted = 0, False
        self._trouble: str | None = None
        self._is_new = True

    def _said(self, trouble: str) -> Log | None:
        if trouble == self._trouble:
            return None
        self._trouble = trouble
        return Log(self.job_id, self.path, trouble=trouble)

    def _read(self, fd: int) -> Log | None:
        found = os.fstat(fd)
        file = (found.st_dev, found.st_ino, _cut_at(self.path))
        if file != self._file or found.st_size < self._at:  # another one, or the daemon has cut out its middle
            self._start()
            self._file = file
        size = found.st_size
        if size == self._at and not self._is_new:
            return None
        if size - self._at > (FIRST if self._is_new else MOST):
            self._skip(fd, size - FIRST)
        self._is_new, self._trouble = False, None
        while self._at < size and (data := os.pread(fd, size - self._at, self._at)):
            self._at += len(data)
            self._take(data)
        lines = list(self._lines)
        if self._open:
            lines.append(self._text.unfinished(self._open))
        return Log(self.job_id, self.path, lines, self._omitted)

    def _skip(self, fd: int, begin: int) -> None:
        """Goes on at a line that begins after `begin`, or there if none does soon."""
        self._start()
        head = os.pread(fd, LONGEST_OPEN, begin)
        self._at, self._omitted = begin + head.find(b"\n") + 1, True

    def _take(self, data: bytes) -> None:
        if self._transcript is not None:
            data = self._transcript.feed(data)
        *whole, last = (self._open + data).split(b"\n")
        self._omitted = self._omitted or len(self._lines) + len(whole) > LINES
        self._lines.extend(map(self._text.line, whole[-LINES:]))
        self._open = last[last.rfind(b"\r", 0, -1) + 1 :][-LONGEST_OPEN:]


def path_of(state: State, job: Job) -> str:
    """Where the output of its last attempt is that has begun."""
    number = jobs.attempt(job)
    return jobs.log_path(state, job, max(1, number - 1) if isinstance(job.phase, Queued) else number)


def _cut_at(path: str) -> int:
    """When a log was last cut."""
    try:
        return os.stat(f"{path}.cut").st_mtime_ns
    except OSError:
        return 0
