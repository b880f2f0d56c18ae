"""The directory of one attempt at a job: what `job.sh` leaves there, read; and the marks that we leave, made.

`pid` (boot id and proc stat line), `alive` (locked while anything of the job lives), `exit` (a status, or `launch`
and why not), `log`, `log.end`, `stop.<signal>`.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowd.core import procstat

if TYPE_CHECKING:
    from gflowd.core.model import Identity

BARRED = "barred"  # in place of a process in `pid`: it is never to begin


@dataclass(frozen=True, slots=True)
class Record:
    """The exit record: a status of a shell, or why the command could not be launched; `at` in epoch seconds."""

    at: float
    status: int | None
    trouble: str | None


@dataclass(frozen=True, slots=True)
class Beginning:
    """The `pid` file: the process of `job.sh`, or None when the attempt was barred, for the reason `why`."""

    at: float
    identity: Identity | None
    why: str | None = None


def beginning(directory: str) -> Beginning | None:
    """What `pid` says; None while it is missing or not yet written whole."""
    found = _read_line(directory, "pid")
    if found is None:
        return None
    text, at = found
    boot, _, stat = text.partition(" ")
    if boot == BARRED:
        return Beginning(at, None, stat or None)
    process = procstat.parse(stat)
    return None if process is None else Beginning(at, process.identity(boot))


def exit_record(directory: str) -> Record | None:
    """What `exit` says; None while it is missing or not yet written whole."""
    found = _read_line(directory, "exit")
    if found is None:
        return None
    text, at = found
    if text.startswith("launch "):
        return Record(at, None, text.removeprefix("launch "))
    return Record(at, int(text), None) if text.isdigit() else None


def log_has_ended(directory: str) -> bool:
    """Whether the log's writer has written its last byte."""
    return os.path.lexists(os.path.join(directory, "log.end"))


def is_held(directory: str) -> bool:
    """Whether some process holds the lock on `alive`; False when there is no such file."""
    try:
        fd = os.open(os.path.join(directory, "alive"), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def bar(directory: str, why: str = "") -> bool:
    """Sees to it that this attempt never begins; False when it has begun already. Raises OSError."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    return _create(directory, "pid", f"{BARRED} {why}\n".encode(errors="replace"))


def mark(directory: str, signal: str) -> bool:
    """Notes that a step of the stop ladder is taken; False when it was taken before. Raises OSError."""
    return _create(directory, f"stop.{signal}", b"")


def prepare(directory: str, script: bytes) -> None:
    """Makes the directory and its `job.sh`, unless it is there already. Raises OSError."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    path = os.path.join(directory, "job.sh")
    fresh = f"{path}.new"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o700)
    try:
        os.write(fd, script)
    finally:
        os.close(fd)
    os.rename(fresh, path)


def _create(directory: str, name: str, content: bytes) -> bool:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        fd = os.open(os.path.join(directory, name), flags, 0o600)
    except FileExistsError:
        return False
    try:
        os.write(fd, content)
    finally:
        os.close(fd)
    return True


def _read_line(directory: str, name: str) -> tuple[str, float] | None:
    try:
        fd = os.open(os.path.join(directory, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        text = os.read(fd, 4096).decode(errors="replace")
        at = os.fstat(fd).st_mtime
    except OSError:
        return None
    finally:
        os.close(fd)
    line, newline, _ = text.partition("\n")
    return (line, at) if newline else None
