"""What `gflowctl doctor` checks in the files of the state directory: modes, locks, sizes, leftovers."""

from __future__ import annotations

import fcntl
import os
import stat
import time

from gflowctl.admin.checks import FAIL, OK, WARN, Finding
from gflowd.effects import daemon

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowctl.admin.checks import Check
    from gflowctl.context import Context

SHORT_WAIT = 1.0  # seconds: a commit holds the lock for some milliseconds
MOST_SEEN = 50_000  # directories of attempts: more are not counted
OURS = ("", "env", "scripts", "log", "run")
LEFT_BY = (
    ("replaced-", "was replaced by gflowctl restore"),
    ("restore.new", "was left by a gflowctl restore that was killed"),
    ("backup.", "was left by a gflowctl backup that was killed"),
)


def modes(context: Context) -> Iterator[Finding]:
    """Every file of ours is private; otherwise it would be refused when it is needed."""
    if context.state.shared is not None:
        return  # see `shared_checks`
    for folder in OURS:
        place = os.path.normpath(context.state.path(folder))
        for name in _names(place):
            path = os.path.join(place, name)
            try:
                found = os.lstat(path)
            except OSError:  # gone by now
                continue
            if stat.S_ISLNK(found.st_mode):
                yield Finding(FAIL, f"{path} is a symbolic link; remove it: rm {path}")
            elif found.st_uid != os.geteuid():
                yield Finding(FAIL, f"{path} belongs to user {found.st_uid}, not to you ({os.geteuid()})")
            elif found.st_mode & 0o077 and stat.S_ISREG(found.st_mode):
                yield Finding(FAIL, f"{path} is open to others; close it: chmod {_closed(found.st_mode)} {path}")


def _closed(mode: int) -> str:
    return f"{mode & 0o700 | 0o600:o}"


def _names(place: str) -> list[str]:
    try:
        return sorted(os.listdir(place))
    except OSError:
        return []


def lock(context: Context) -> Iterator[Finding]:
    """The snapshot's lock is not held for long."""
    path = context.state.snapshot_lock
    deadline = time.monotonic() + SHORT_WAIT
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    break
            time.sleep(0.01)
        holder = os.pread(fd, 32, 0).strip().decode(errors="replace")
        who = f"pid {holder}" if holder.isdigit() else "a process of unknown pid"
        yield Finding(FAIL, f"{path} stays locked by {who}", "end it, or continue it if it is stopped: kill -CONT PID")
    finally:
        os.close(fd)


def doorbell(context: Context) -> Iterator[Finding]:
    """A running daemon can be woken."""
    found = daemon.running(context.state)
    if found is None or found.elsewhere or found.pulse_fd is None:
        return
    bell = context.runtime.bell
    try:
        is_fifo = stat.S_ISFIFO(os.lstat(bell).st_mode)
    except OSError:
        is_fifo = False
    if not is_fifo:
        yield Finding(WARN, f"{bell}, which wakes gflowd, is gone; gflowd only polls", found.restart)


def sizes(context: Context) -> Iterator[Finding]:
    """How much the logs of jobs take."""
    taken, count = 0, 0
    for job in _names(context.state.jobs):
        for attempt in _names(os.path.join(context.state.jobs, job)):
            if not (job.isdigit() and attempt.isdigit()) or os.path.islink(
                context.state.attempt(int(job), int(attempt))
            ):
                continue  # a link leads to a cluster's directory, which may hang
            count += 1
            if count > MOST_SEEN:
                break
            try:
                taken += os.lstat(context.state.job_log(int(job), int(attempt))).st_blocks * 512
            except OSError:
                continue
    if not count:
        return
    room = os.statvfs(context.state.jobs)
    many = count if count <= MOST_SEEN else f"{MOST_SEEN} and more"
    text = f"the logs of {many} attempts take {taken / (1 << 30):.1f}G"
    if taken > room.f_bavail * room.f_frsize:
        yield Finding(WARN, f"{text}, more than is free", "lower [logs] keep or max_size, or remove old jobs/")
    else:
        yield Finding(OK, text)


def left_behind(context: Context) -> Iterator[Finding]:
    """Leftovers of a restore or a killed command."""
    for name in _names(context.state.root):
        for beginning, why in LEFT_BY:
            if name.startswith(beginning):
                path = context.state.path(name)
                yield Finding(WARN, f"{path} {why}", f"if you need nothing in it: rm -r {path}")


CHECKS: tuple[Check, ...] = (modes, lock, doorbell, sizes, left_behind)
