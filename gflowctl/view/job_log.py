"""The output of a job as it grows: which file it is, and what it says. `follow` prints it."""

from __future__ import annotations

import errno
import os
import stat

from gflowctl.view import jobs, reasons
from gflowd.core.errors import Refused
from gflowd.core.execution import log_trimming
from gflowd.core.job.model import Ended, Queued
from gflowd.effects import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflowctl.context import Context
    from gflowctl.view.transcript import Transcript
    from gflowctl.view.views import View
    from gflowd.core.job.model import Job

BLOCK = 1 << 16  # bytes


def open_log(path: str) -> int | None:
    """A descriptor; None if there is no such file yet. Raises `Refused` where it cannot be shown. Root follows no link
    that another user may have put there.
    """
    is_alien = os.geteuid() == 0 and _may_be_written_by_others(path)
    try:
        return files.open_plain(path, follow=not is_alien)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP and is_alien:
            raise Refused(f"{path} is a symbolic link{_whose(path)}; root does not follow it") from None
        if error.errno == errno.EINVAL:
            raise Refused(f"{path} is not a regular file; its content cannot be shown") from None
        raise Refused(f"{path}: {error.strerror}{_whose(path) if error.errno == errno.EACCES else ''}") from None


def _whose(path: str) -> str:
    """Whose the directory is in which a file is, where that is another's."""
    import pwd

    try:
        uid = _owner(path)
        return "" if uid is None or uid == os.geteuid() else f"; it belongs to {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return ""


def _may_be_written_by_others(path: str) -> bool:
    """Whether others than root may have put it there."""
    try:
        found = os.stat(os.path.dirname(path))
    except OSError:
        return False
    return found.st_uid != 0 or bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _owner(path: str) -> int | None:
    """The uid of who has the directory in which a file is."""
    try:
        return os.stat(os.path.dirname(path)).st_uid
    except OSError:
        return None


class JobLog:
    """Reads a growing file; with `terminal` what was written to one, without what that makes of it.

    A log that the daemon cuts meanwhile is followed across the cut; `missing` bytes of it are gone.
    """

    def __init__(self, path: str, *, terminal: bool) -> None:
        self.path = path
        self._transcript = _transcript() if terminal else None
        self._mark: log_trimming.Mark | None = None
        self._fd = -1

    @property
    def missing(self) -> int:
        """How many bytes were cut out."""
        return 0 if self._mark is None else self._mark.missing

    def open(self) -> bool:
        """Opens the file if it exists by now. Raises `Refused` if it is not a regular file."""
        if self._fd < 0:
            fd = open_log(self.path)
            if fd is None:
                return False
            self._fd = fd
            self._note_cut()
        return True

    def from_last(self, lines: int, most: int | None = None) -> None:
        """Skips all but the last `lines` lines, and of these all but the last `most` bytes: a line may be very long, as
        that of a progress bar.
        """
        begin = _start_of_last(self._fd, lines)
        self._begin(begin if most is None else max(begin, os.fstat(self._fd).st_size - most))

    def from_byte(self, after: int) -> None:
        """Skips the first `after` bytes that were ever written; where they are cut out, all before the cut's line."""
        mark = self._mark
        self._begin(after if mark is None else log_trimming.moved(after, 0, mark))

    def position(self) -> int:
        """How many bytes were ever written before those that are said next."""
        held = 0 if self._transcript is None else self._transcript.pending
        place, mark = os.lseek(self._fd, 0, os.SEEK_CUR) - held, self._mark
        return place if mark is None or place < mark.end else place + mark.missing

    def read(self, most: int = BLOCK) -> bytes | None:
        """What is said next, perhaps nothing yet; None at the end of the file."""
        data = self._read(most)
        if not data:
            return None
        return data if self._transcript is None else self._transcript.feed(data)

    def rest(self) -> bytes:
        """What was held back."""
        return b"" if self._transcript is None else self._transcript.finish()

    def close(self) -> None:
        """Closes the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _begin(self, start: int) -> None:
        if self._transcript is not None and start:
            before = min(start, BLOCK)
            self._transcript.pass_over(os.pread(self._fd, before, start - before))
        os.lseek(self._fd, start, os.SEEK_SET)

    def _read(self, most: int) -> bytes:
        before = self.missing
        mark = self._note_cut()
        if mark is not None and self.missing > before:
            position = os.lseek(self._fd, 0, os.SEEK_CUR)
            os.lseek(self._fd, log_trimming.moved(position, before, mark), os.SEEK_SET)
        return os.read(self._fd, most)

    def _note_cut(self) -> log_trimming.Mark | None:
        """What has been cut out, from the file that the daemon keeps beside a log."""
        try:
            mark = log_trimming.decode(files.read_plain(f"{self.path}.cut", 100))
        except OSError:
            return None
        if mark is not None:
            self._mark = mark
        return mark


def _transcript() -> Transcript:
    from gflowctl.view.transcript import Transcript

    return Transcript()


def check_error_file(job: Job) -> None:
    """Raises `Refused` for a job whose errors go where its output goes."""
    if job.spec.error is None:
        raise Refused(f"job {jobs.label(job)} has no separate error file; its errors are in its output")


def which(view: View, job: Job, attempt: int | None, *, error: bool) -> tuple[str, bool]:
    """The file of an attempt's output (None: of the last), or of its errors, and whether a terminal wrote it. Raises
    `Refused` if there can be none.
    """
    last, named = jobs.attempt(job), f"job {jobs.label(job)}"
    if error:
        check_error_file(job)
    if attempt is not None and not 1 <= attempt <= last:
        raise Refused(f"{named} has no attempt {attempt}; its last is {last}")
    if isinstance(job.phase, Queued) and attempt == last > 1:
        raise Refused(f"attempt {last} of {named} has not started ({jobs.state(job)}, {reasons.reason(view, job)})")
    if jobs.is_waiting(job) and last == 1:
        why = reasons.reason(view, job)
        raise Refused(f"{named} has not started ({jobs.state(job)}, {why}); --follow waits for it")
    if isinstance(job.phase, Queued) and last == 1:
        raise Refused(f"{named} never started ({jobs.state(job)}); it has no log")
    if error:
        return jobs.file_name(job, job.spec.error) or "", False
    number = attempt or (last - 1 if isinstance(job.phase, Queued) else last)
    past = view.past(job.id, number) if number < last else None
    check_own(view.context, job)
    return jobs.log_path(view.context.state, job, number), jobs.is_terminal_log(job, past)


def check_own(context: Context, job: Job) -> None:
    """Raises `Refused` for another's log; files that users have named themselves, they close themselves."""
    if job.spec.output is None:
        context.check_own(job.spec, jobs.label(job))


def explain_missing(view: View, job: Job, path: str) -> None:
    """While the job may still write a log, a missing one counts as empty; afterwards it is reported by `Refused`."""
    if isinstance(job.phase, Ended):
        if job.phase.started_at is None:
            why = reasons.reason(view, job)
            raise Refused(f"job {jobs.label(job)} never started ({jobs.state(job)}, {why}); it has no log")
        raise Refused(f"the output of job {jobs.label(job)} is no longer there: {path}")


def _start_of_last(fd: int, lines: int) -> int:
    """The offset at which the last `lines` lines begin; a newline at the end of the file does not begin a line."""
    end = os.fstat(fd).st_size
    if lines <= 0:
        return end
    if end and os.pread(fd, 1, end - 1) == b"\n":
        end -= 1
    while end > 0:
        begin = max(0, end - BLOCK)
        block = os.pread(fd, end - begin, begin)
        while (place := block.rfind(b"\n")) >= 0:
            lines -= 1
            if not lines:
                return begin + place + 1
            block = block[:place]
        end = begin
    return 0
