from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import pytest
from support import descriptors
from support.waiting import eventually

from gflowd.core.errors import Refused, TryAgain
from gflowd.storage.lock import Lock, close_in_children

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkProcess

FORK = multiprocessing.get_context("fork")
SHORT = 0.05  # seconds: a deadline that is meant to pass
LONG = 60.0  # seconds: patience with a busy machine; a lock that is held here is held for longer


class Other:
    """Another process that runs `work(ready)`, where `ready()` tells us that it got as far as it should.

    With `waits` it begins only at `go()`: a lock must not be held over a fork, so tests that hold one fork before.
    """

    def __init__(self, work: Callable[[Callable[[], None]], None], *, waits: bool = False) -> None:
        self._inbox, outbox = FORK.Pipe(duplex=False)
        gate, self._gate = FORK.Pipe(duplex=False)
        self.process: ForkProcess = FORK.Process(target=self._run, args=(work, outbox, gate if waits else None))
        self.process.start()
        outbox.close()
        gate.close()

    @staticmethod
    def _run(work: Callable[[Callable[[], None]], None], outbox: Connection, gate: Connection | None) -> None:
        if gate is not None:
            gate.recv()
        work(lambda: outbox.send(True))

    def go(self) -> None:
        self._gate.send(True)

    def is_ready(self, within: float = LONG) -> bool:
        try:
            return self._inbox.poll(within) and bool(self._inbox.recv())
        except EOFError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "snapshot.lock")


@pytest.fixture
def others() -> Iterator[list[Other]]:
    started: list[Other] = []
    yield started
    for other in started:
        other.kill()


def hold_ours(path: str) -> Callable[[Callable[[], None]], None]:
    def work(ready: Callable[[], None]) -> None:
        with Lock(path, LONG):
            ready()
            time.sleep(600)

    return work


def hold_filelock(path: str) -> Callable[[Callable[[], None]], None]:
    def work(ready: Callable[[], None]) -> None:
        with filelock.FileLock(path):
            ready()
            time.sleep(600)

    return work


def test_a_held_lock_excludes_another_process_and_names_its_pid(path: str, others: list[Other]) -> None:
    others.append(Other(hold_ours(path)))
    assert others[0].is_ready()
    began = time.monotonic()
    with pytest.raises(TryAgain, match=rf"stayed locked for 0.05 s by pid {others[0].process.pid}; try again"):
        Lock(path, SHORT).acquire()
    assert SHORT <= time.monotonic() - began < LONG


def test_filelock_excludes_ours(path: str, others: list[Other]) -> None:
    others.append(Other(hold_filelock(path)))
    assert others[0].is_ready()
    os.chmod(path, 0o600)  # what a user's script that came first must do, as our refusal says
    with pytest.raises(TryAgain):
        Lock(path, SHORT).acquire()
    others[0].kill()
    with Lock(path, LONG):
        pass


def test_ours_excludes_filelock(path: str, others: list[Other]) -> None:
    others.append(Other(hold_ours(path)))
    assert others[0].is_ready()
    with pytest.raises(filelock.Timeout):
        filelock.FileLock(path, timeout=SHORT).acquire()
    others[0].kill()
    with filelock.FileLock(path, timeout=LONG):
        pass


def test_a_filelock_on_our_file_leaves_it_private(path: str) -> None:
    with Lock(path, 1.0):
        pass
    with filelock.FileLock(path, timeout=1.0):
        pass
    with Lock(path, 1.0):
        assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_holder_that_never_signed_is_not_named_as_somebody_else(path: str, others: list[Other]) -> None:
    with Lock(path, 1.0):
        pass
    others.append(Other(hold_filelock(path)))
    assert others[0].is_ready()
    with pytest.raises(TryAgain) as refusal:
        Lock(path, SHORT).acquire()
    assert f"pid {os.getpid()}" not in str(refusal.value)


def test_a_killed_holder_leaves_the_lock_free(path: str, others: list[Other]) -> None:
    others.append(Other(hold_ours(path)))
    assert others[0].is_ready()
    others[0].kill()
    with Lock(path, 0.0):
        pass


def test_a_program_started_while_the_lock_is_held_does_not_keep_it(path: str, others: list[Other]) -> None:
    def work(ready: Callable[[], None]) -> None:
        with Lock(path, LONG):
            child = os.posix_spawn("/bin/sleep", ["sleep", "600"], os.environ)
            os.write(outbox, b"%d" % child)
            ready()
            time.sleep(600)

    inbox, outbox = os.pipe()
    others.append(Other(work))
    assert others[0].is_ready()
    child = int(os.read(inbox, 20))
    os.close(inbox)
    os.close(outbox)
    try:
        others[0].kill()
        with Lock(path, 0.0):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_waiter_gets_the_lock_when_it_is_released(path: str, others: list[Other]) -> None:
    others.append(Other(hold_ours(path), waits=True))
    with Lock(path, 1.0):
        others[0].go()
        assert not others[0].is_ready(0.1)
    assert others[0].is_ready()


@pytest.mark.parametrize("replace", [True, False])
def test_a_file_removed_or_replaced_while_waiting_has_no_two_holders(
    path: str, others: list[Other], replace: bool
) -> None:
    others.append(Other(hold_ours(path), waits=True))
    first = Lock(path, 1.0)
    first.acquire()
    others[0].go()
    eventually(lambda: path in descriptors.opened(others[0].process.pid or 0))
    assert not others[0].is_ready(0.1)  # waits on the first file
    os.unlink(path)
    if replace:
        with Lock(path, 1.0):  # somebody holds the second file
            first.release()
            assert not others[0].is_ready(0.1)
    else:
        first.release()
    assert others[0].is_ready()
    with pytest.raises(TryAgain):
        Lock(path, SHORT).acquire()


def test_the_waiters_alarm_and_timer_are_put_back(path: str, others: list[Other]) -> None:
    rang = []
    before = signal.signal(signal.SIGALRM, lambda *_: rang.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 600, 7)
        others.append(Other(hold_ours(path)))
        assert others[0].is_ready()
        mine = signal.getsignal(signal.SIGALRM)
        with pytest.raises(TryAgain):
            Lock(path, SHORT).acquire()
        assert signal.getsignal(signal.SIGALRM) is mine
        remaining, interval = signal.setitimer(signal.ITIMER_REAL, 0)
        assert 600 - LONG < remaining <= 600 - SHORT
        assert interval == 7
        assert not rang
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_no_timer_is_left_after_waiting(path: str, others: list[Other]) -> None:
    others.append(Other(hold_ours(path)))
    assert others[0].is_ready()
    with pytest.raises(TryAgain):
        Lock(path, SHORT).acquire()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_the_deadline_holds_in_a_process_that_was_started_with_alarms_blocked(path: str, others: list[Other]) -> None:
    def work(ready: Callable[[], None]) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        try:
            Lock(path, SHORT).acquire()
        except TryAgain:
            if signal.SIGALRM in signal.pthread_sigmask(signal.SIG_BLOCK, ()):
                ready()

    others.append(Other(work, waits=True))
    with Lock(path, 1.0):
        others[0].go()
        assert others[0].is_ready()


def test_a_lost_alarm_is_followed_by_another(path: str, others: list[Other]) -> None:
    """An alarm that comes before flock(2) is entered interrupts nothing; here the first is swallowed outright."""

    def work(ready: Callable[[], None]) -> None:
        real = fcntl.flock

        def late(fd: int, how: int) -> None:
            if not how & fcntl.LOCK_NB:
                while not signal.sigpending() & {signal.SIGALRM}:
                    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
                    time.sleep(0.01)
                signal.sigtimedwait({signal.SIGALRM}, 1)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
            real(fd, how)

        fcntl.flock = late  # type: ignore[assignment]
        try:
            Lock(path, SHORT).acquire()
        except TryAgain:
            ready()

    others.append(Other(work, waits=True))
    with Lock(path, 1.0):
        others[0].go()
        assert others[0].is_ready()


def test_an_exception_within_releases_the_lock(path: str) -> None:
    with pytest.raises(ZeroDivisionError), Lock(path, 1.0):
        raise ZeroDivisionError
    with Lock(path, SHORT):
        pass


def test_a_lock_may_be_taken_again_and_released_twice(path: str) -> None:
    lock = Lock(path, SHORT)
    for _ in range(3):
        with lock:
            pass
    lock.release()


def test_no_descriptor_is_left_after_success_or_failure(path: str, others: list[Other]) -> None:
    before = descriptors.ours()
    with Lock(path, 1.0):
        pass
    assert descriptors.ours() == before
    others.append(Other(hold_ours(path)))
    assert others[0].is_ready()
    before = descriptors.ours()
    with pytest.raises(TryAgain):
        Lock(path, SHORT).acquire()
    assert descriptors.ours() <= before


def test_a_link_is_refused(path: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch(0o600)
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(Refused, match="symbolic link; remove it: rm "):
        Lock(path, SHORT).acquire()


def test_a_lock_file_open_to_others_is_closed_to_them(path: str) -> None:
    """`filelock` before release 3.20 opens it, unless it is told a mode."""
    Path(path).touch()
    os.chmod(path, 0o644)
    with Lock(path, SHORT):
        assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_pipe_is_refused_at_once(path: str) -> None:
    os.mkfifo(path, 0o600)
    with pytest.raises(Refused, match="plain file"):
        Lock(path, SHORT).acquire()


def test_a_child_that_outlives_us_does_not_hold_the_lock(tmp_path: Path) -> None:
    """As if by a release of filelock that leaves it open in the child; whatever has its number later stays open."""
    path = tmp_path / "lock"

    def hold(ready: Callable[[], None]) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        close_in_children(str(path))
        child = Other(lambda told: (told(), signal.pause()))
        os.close(fd)
        assert os.open(os.devnull, os.O_RDONLY) == fd
        reused = FORK.Process(target=os.fstat, args=(fd,))
        reused.start()
        reused.join()
        try:
            assert child.is_ready()
            assert reused.exitcode == 0
            fcntl.flock(os.open(path, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            child.kill()
        ready()

    holder = Other(hold)
    assert holder.is_ready()
    holder.process.join()
