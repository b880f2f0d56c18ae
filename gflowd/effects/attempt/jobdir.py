"""The directory of one attempt at a job: reads what `job.sh` leaves there, and makes the marks that we leave.

`pid` (boot id and proc stat line), `alive` (a named pipe, open while any process of the job lives), `exit` (a status,
with `oom` if the kernel ended it for its memory, or the shell's `not found` if no command ran; or `launch` and the
reason why it was not even tried), `used` (what the shell knows of the CPU time of its children, and what a control
group counted; there from the beginning, as the room for a last word on a full disk), `log`, `log.end`, `out` and `err`
(named pipes, read by the process that copies them to files), `stop.<signal>`.

Of a daemon for many users the marks and `job.sh` are in root's part, the others in the user's: `effects.shared_mode`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import termios
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowd import paths
from gflowd.core.execution import job_script, procstat, usage
from gflowd.effects import files

if TYPE_CHECKING:
    from gflowd.core.execution.observations import Observation
    from gflowd.core.job.model import Identity

_STATUS = re.compile("([0-9]{1,3})(?: (?:(oom)|(not found|not executable)))?")
TORN_AFTER = 5.0  # seconds: a `pid` still without its line was left by a full disk or a kill
BLIND = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # we cannot read it, which says nothing about the job
LONGEST = 4096  # bytes that are read of a file
BARRED = "barred"  # in place of a process in `pid`: it must never begin


@dataclass(frozen=True, slots=True)
class Record:
    """The exit record: a status of a shell, why the command could not be launched, or both; `at` in epoch seconds."""

    at: float
    status: int | None
    trouble: str | None
    starved: bool = False  # the kernel ended it because it exceeded its memory

    def added_to(self, seen: Observation) -> Observation:
        """What is seen of the attempt, with how its command ended."""
        return seen.replace(status=self.status, trouble=self.trouble, starved=self.starved, ended_at=self.at)


@dataclass(frozen=True, slots=True)
class Beginning:
    """The `pid` file: the process of `job.sh`; None if the attempt was barred, for the reason `why`."""

    at: float
    identity: Identity | None
    why: str | None = None


def read(directory: str, name: str) -> tuple[str, float] | None:
    """The text of a short file, and when it was written."""
    fd = files.open_to_read(os.path.join(directory, name))
    if fd is None:
        return None
    try:
        return os.read(fd, LONGEST).decode(errors="replace"), os.fstat(fd).st_mtime
    except OSError:
        return None
    finally:
        os.close(fd)


Reader = Callable[[str, str], "tuple[str, float] | None"]  # as `read`: others read what is not ours more carefully


def beginning(directory: str, read: Reader = read) -> Beginning | None:
    """The content of `pid`; None while it is missing or incomplete."""
    found = _line(read(directory, "pid"))
    if found is None:
        return None
    text, at = found
    boot, _, rest = text.partition(" ")
    if boot == BARRED:
        return Beginning(at, None, rest or None)
    process = procstat.parse(rest)
    return None if process is None else Beginning(at, process.identity(boot))


def exit_record(directory: str, read: Reader = read) -> Record | None:
    """The content of `exit`; None while it is missing or incomplete."""
    found = _line(read(directory, "exit"))
    if found is None:
        return None
    text, at = found
    if text.startswith("launch "):
        return Record(at, None, text.removeprefix("launch "))
    match = _STATUS.fullmatch(text)
    if match is None or int(match[1]) > 255:
        return None
    return Record(at, int(match[1]), match[3], starved=match[2] is not None)


def noted(directory: str, read: Reader = read) -> usage.Noted | None:
    """What `job.sh` noted of what the attempt used; None where it left nothing."""
    found = read(directory, "used")
    return None if found is None else usage.noted(found[0])


def log_has_ended(directory: str) -> bool:
    """Whether the log's writer has written its last byte."""
    return os.path.lexists(os.path.join(directory, "log.end"))


def is_copied(directory: str) -> bool:
    """Whether everything that the job wrote to its pipes is in its files: no process reads the pipes any more."""
    return not any(_is_read(os.path.join(directory, name)) for name in job_script.PIPES)


def has_drained(directory: str) -> bool:
    """Whether its pipes are empty for the moment."""
    return not any(_waiting(os.path.join(directory, name)) for name in job_script.PIPES)


def _is_read(pipe: str) -> bool:
    """Whether some process has a named pipe open to read it (open(2), ENXIO)."""
    try:
        fd = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        return error.errno in BLIND
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode)
    finally:
        os.close(fd)


def _waiting(pipe: str) -> int:
    """How many bytes wait in a named pipe."""
    try:
        fd = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        found = array("i", [0])
        fcntl.ioctl(fd, termios.FIONREAD, found)
        return found[0] if stat.S_ISFIFO(os.fstat(fd).st_mode) else 0
    except OSError:
        return 0
    finally:
        os.close(fd)


def is_held(directory: str) -> bool:
    """Whether a process has `alive` open, or locked if it is a plain file; False if it does not exist.

    Opening a named pipe for writing fails (open(2), ENXIO) unless a process has it open for reading, so this disturbs
    no process.
    """
    try:
        fd = os.open(os.path.join(directory, "alive"), os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        return error.errno in BLIND
    try:
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            return True
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def bar(directory: str, why: str = "") -> bool:
    """Bars this attempt from ever beginning; returns False if it has begun already. Raises OSError.

    An incomplete `pid`, so that nothing has begun, is replaced.
    """
    os.makedirs(directory, mode=0o700, exist_ok=True)
    line = f"{BARRED} {why}\n".encode(errors="replace")
    path = os.path.join(directory, "pid")
    if files.create(path, line):
        return True
    if beginning(directory) is not None or time.time() - os.lstat(path).st_mtime < TORN_AFTER:
        return False
    files.replace(path, line)
    return True


def mark(directory: str, signal: str) -> bool:
    """Marks a step of the stop ladder as taken; returns False if it was taken before. Raises OSError."""
    return files.create(os.path.join(directory, f"stop.{signal}"), b"")


def is_marked(directory: str, signal: str) -> bool:
    """Whether `mark` has noted that."""
    return os.path.lexists(os.path.join(directory, f"stop.{signal}"))


def reserve(place: str, parent: int | None = None) -> int:
    """Makes sure that `job.sh` will have room in `place`, a directory, for how it ended; returns the file that has it,
    to be closed. `parent`: a descriptor of the directory that `place` is relative to. Raises OSError.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(os.path.join(place, job_script.RESERVE), flags, 0o600, dir_fd=parent)
    try:
        if os.fstat(fd).st_size < len(job_script.BLANK):  # new, or left so by a disk that was full
            paths.write_all(fd, job_script.BLANK)
    except OSError:
        os.close(fd)
        raise
    return fd


def prepare(directory: str, script: bytes, pipes: tuple[str, ...] = ()) -> None:
    """Makes the directory, its named `pipes` and its `job.sh`, all of it or nothing. Raises OSError."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    for name in ("alive", *pipes):
        with contextlib.suppress(OSError):  # it is there, or cannot be: then job.sh does without
            os.mkfifo(os.path.join(directory, name), 0o600)
    os.close(reserve(directory))
    files.replace(os.path.join(directory, "job.sh"), script, 0o700)


def _line(found: tuple[str, float] | None) -> tuple[str, float] | None:
    if found is None:
        return None
    line, newline, _ = found[0].partition("\n")
    return (line, found[1]) if newline else None
