"""An exclusive file lock with a deadline: flock(2), so that the kernel releases it whatever becomes of the holder.

`filelock.FileLock` on the same path is the same lock. Ours exists because importing that is too slow for gflowctl, and
because it polls, which starves a waiter among many; ours sleeps in the kernel's queue.
"""

from __future__ import annotations

import fcntl
import os

from gflowd.core.errors import TryAgain
from gflowd.paths import identity, is_at, open_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Self

    from filelock import FileLock


REPEAT = 0.1  # seconds between alarms after the deadline
SHORTEST_SLEEP, LONGEST_SLEEP = 0.001, 0.02  # seconds between two tries of one that polls


def whole_lock(path: str, timeout: float) -> FileLock:
    """The same lock, through `filelock`, for processes that hold it all their life; never a lock of another kind."""
    from filelock import FileLock

    try:
        return FileLock(path, timeout=timeout, mode=0o600, thread_local=False, fallback_to_soft=False)
    except TypeError:  # before release 3.25 it knows no other kind
        return FileLock(path, timeout=timeout, mode=0o600, thread_local=False)


def close_in_children(path: str) -> None:
    """Closes the lock file `path`, which this process holds, in those that it forks from now on, as `filelock` does
    since release 4: a child that outlives us must not hold the lock.
    """
    ours = identity(path)
    held = [fd for fd in map(int, os.listdir("/proc/self/fd")) if _of(fd) == ours]

    def close() -> None:
        for fd in held:
            if _of(fd) == ours:  # not closed already, its number perhaps another file's
                os.close(fd)

    os.register_at_fork(after_in_child=close)


def _of(fd: int) -> tuple[int, int] | None:
    """What `paths.identity` says of the file that is open as `fd`; None if none is."""
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Lock:
    """`with Lock(path, timeout):` holds the lock. Do not hold it across a fork; we never remove the file. One that
    `polls` leaves the process's signals alone and works in any thread, but waits longer among many.

    Raises `TryAgain` naming the holder when `timeout` seconds pass, `Refused` or OSError for a file that is not ours.
    """

    __slots__ = ("_fd", "path", "polls", "timeout")

    def __init__(self, path: str, timeout: float, *, polls: bool = False) -> None:
        self.path = path
        self.timeout = timeout
        self.polls = polls
        self._fd = -1

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self) -> None:
        while self._fd < 0:
            fd = open_lock(self.path)
            try:
                _flock(fd, self.timeout, self.path, polls=self.polls)
                if is_at(fd, self.path):  # the file may have been removed or replaced while we waited
                    self._fd = fd
            finally:
                if self._fd != fd:
                    os.close(fd)
        _sign(self._fd)

    def is_held(self) -> bool:
        """Whether we hold it, and no one can hold another lock at the same path."""
        return self._fd >= 0 and is_at(self._fd, self.path)

    def release(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            _unsign(fd)
            os.close(fd)


def _flock(fd: int, timeout: float, path: str, *, polls: bool) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        (_flock_by_polling if polls else _flock_before_alarm)(fd, timeout, path)


def _flock_by_polling(fd: int, timeout: float, path: str) -> None:
    import time

    deadline, pause = time.monotonic() + timeout, SHORTEST_SLEEP
    while True:
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_SLEEP)
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise _busy(fd, timeout, path) from None


def _busy(fd: int, timeout: float, path: str) -> TryAgain:
    return TryAgain(f"{path} stayed locked for {timeout:g} s{_holder(fd)}; try again")


def _flock_before_alarm(fd: int, timeout: float, path: str) -> None:
    """Waits in the kernel; an alarm whose handler raises is the only way out of a blocking flock(2).

    The alarm repeats, since one that comes just before flock(2) is entered interrupts nothing, and is unblocked,
    since a signal mask is inherited. The caller's own alarm is put back as it was. In the main thread only.
    """
    import signal
    import time

    def give_up(_signal: int, _frame: FrameType | None) -> None:
        raise _busy(fd, timeout, path)

    began = time.monotonic()
    handler = signal.getsignal(signal.SIGALRM)
    remaining, interval = signal.setitimer(signal.ITIMER_REAL, 0)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.signal(signal.SIGALRM, give_up)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        signal.setitimer(signal.ITIMER_REAL, max(timeout, 0.001), REPEAT)
        fcntl.flock(fd, fcntl.LOCK_EX)
    finally:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
        finally:  # a last alarm may have raised just there
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            signal.signal(signal.SIGALRM, handler)
            if remaining:
                signal.setitimer(signal.ITIMER_REAL, max(remaining - (time.monotonic() - began), 0.001), interval)


def _holder(fd: int) -> str:
    pid = os.pread(fd, 32, 0).strip()
    return f" by pid {pid.decode()}" if pid.isdigit() else ""


def _sign(fd: int) -> None:
    """Writes our pid for processes that wait too long; a full disk must not keep us from the lock."""
    try:
        os.pwrite(fd, b"%-11d\n" % os.getpid(), 0)
    except OSError:
        pass


def _unsign(fd: int) -> None:
    """Removes our pid: `filelock` writes none, and the next holder of the lock must not be mistaken for us."""
    try:
        os.ftruncate(fd, 0)
    except OSError:
        pass
