"""The processes that the supervisor forks: one for each worker, and the Manager that hosts the board.

Each is spawned, checked and reaped here; the supervisor decides when.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from gflowd import log
from gflowd.workers import base, board

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from multiprocessing.context import ForkProcess

    from gflowd.workers import Row
    from gflowd.workers.board import Pulses

SILENCE = 30.0  # seconds without a heartbeat after which a worker counts as hung
ABORT_GRACE = 1.0  # seconds between ABRT and KILL for a silent one
PROBE_EVERY = 10.0  # seconds between looks at the Manager
PROBE_SILENCE = 5.0  # seconds after which a silent Manager is killed
LONGEST_DELAY = 60.0  # seconds between restarts of a worker that keeps crashing
CALM = 60.0  # seconds without a crash after which the next restart is immediate again
MANAGER_START = 5.0  # seconds for a new Manager's socket to appear

HEEDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # by the supervisor


class Restarts:
    """When a crashed child is started again. `due`: the monotonic time of its next start."""

    def __init__(self) -> None:
        self.due = 0.0
        self.crashes = 0  # since its last calm period
        self.last_crash = float("-inf")

    def delay(self) -> None:
        """After a crash: the first start is immediate, each later one waits twice as long."""
        mono = time.monotonic()
        self.crashes = 1 if mono - self.last_crash > CALM else self.crashes + 1
        self.last_crash = mono
        self.due = mono if self.crashes == 1 else mono + min(LONGEST_DELAY, 2.0 ** min(self.crashes - 2, 99))


class Child(Restarts):
    """A worker, while it runs and while it waits to run again."""

    def __init__(self, row: Row, pulses: Pulses) -> None:
        super().__init__()
        self.row = row
        self.wake_read, self.wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.process: ForkProcess | None = None
        self.failed_boots = 0  # running
        self.resting = False  # until a ring for which it starts
        self._pulses = pulses
        self._restarts = 0
        self._aborted_at: float | None = None
        self._log = log.get("supervisor")

    def spawn(self, wiring: base.Wiring) -> None:
        """Forks it."""
        self._pulses.set(board.Pulse(self.row.name, 0, 0.0, time.monotonic(), self._restarts))
        with signals_blocked():
            process = board.fork.Process(target=base.main, args=(self.row, wiring), name=self.row.name, daemon=True)
            process.start()
        self.process, self._aborted_at = process, None
        self._pulses.assign(self.row.name, process.pid or 0)

    def wake(self, rings: set[int]) -> None:
        """Forwards a ring, if the worker wakes for it, and ends its rest."""
        if rings & set(self.row.starts_for):
            self.resting = False
        if not self.resting and rings & set(self.row.wakes_for):
            with contextlib.suppress(BlockingIOError):
                os.write(self.wake_write, b".")

    def end_if_silent(self, mono: float) -> None:
        """Ends it if it has been silent for too long: first so that it can leave a trace."""
        if self.process is None:
            return
        pulse = self._pulses.get(self.row.name)
        if mono - max(pulse.beat, pulse.started) <= SILENCE:
            return
        if self._aborted_at is None:
            self._aborted_at = mono
            self._log.warning("silent", worker=self.row.name, pid=pulse.pid)
            send(self.process, signal.SIGABRT)
        elif mono - self._aborted_at > ABORT_GRACE:
            send(self.process, signal.SIGKILL)

    def next_due(self) -> float:
        """When it must be checked or started again; monotonic."""
        if self.process is None:
            return math.inf if self.resting else self.due
        if self._aborted_at is not None:
            return self._aborted_at + ABORT_GRACE
        pulse = self._pulses.get(self.row.name)
        return max(pulse.beat, pulse.started) + SILENCE + 0.1

    def bury(self) -> int | None:
        """Records its death; returns its status, or None if it only lost the board, which is not its own crash."""
        assert self.process is not None
        status = self.process.exitcode
        booted = self._pulses.get(self.row.name).beat > 0
        self.forget()
        if status == base.BOARD_LOST:
            return None
        if status == base.RESTS:
            self.resting = not wait([self.wake_read], 0)  # it may have been rung for while it ended
            self._pulses.clear(self.row.name)
            return None
        self._restarts += 1
        self.failed_boots = 0 if booted else self.failed_boots + 1
        self.delay()
        return status

    def dismiss(self) -> None:
        """It has ended, and is not wanted any more."""
        os.close(self.wake_read)
        os.close(self.wake_write)

    def forget(self) -> None:
        """It has ended."""
        if self.process is not None:
            self.process.join()
            self.process.close()
        self.process = None
        pulse = self._pulses.get(self.row.name)
        self._pulses.set(board.Pulse(self.row.name, 0, pulse.beat, pulse.started, self._restarts))


class Host:
    """The Manager's process, checked by knocking, since a call of its proxies may never return."""

    def __init__(self, address: str, pulses: Pulses, restarts: int) -> None:
        self.address = address
        self.key = os.urandom(32)
        with signals_blocked():
            self.process: ForkProcess = board.serve(address, self.key, _begin)
        self._pulses = pulses
        self._probe: socket.socket | None = None
        self._probed_at = time.monotonic()
        self._log = log.get("supervisor")
        self._note_beat(self._probed_at, restarts)
        self._await_socket()

    @property
    def awaited(self) -> list[int | socket.socket]:
        """The descriptors that become readable when it dies or responds."""
        return [self.process.sentinel] if self._probe is None else [self.process.sentinel, self._probe]

    def look(self, mono: float) -> None:
        """Knocks now and then, and kills it if it does not respond."""
        if self._probe is not None:
            if wait([self._probe], 0):
                self._probe.close()
                self._probe = None
                self._note_beat(mono, self._pulses.get(board.MANAGER).restarts)
            elif mono - self._probed_at > PROBE_SILENCE:
                self._log.warning("manager is silent", pid=self.process.pid)
                send(self.process, signal.SIGKILL)
                self._probed_at = mono
        elif mono - self._probed_at >= PROBE_EVERY:
            self._probed_at = mono
            self._probe = board.knock(self.address)
            if self._probe is None:
                send(self.process, signal.SIGKILL)

    def next_due(self) -> float:
        """When it must be checked; monotonic."""
        return self._probed_at + (PROBE_EVERY if self._probe is None else PROBE_SILENCE)

    def end(self) -> None:
        """Kills it: the board is not state."""
        if self._probe is not None:
            self._probe.close()
        send(self.process, signal.SIGKILL)
        self.process.join()
        self.process.close()
        with contextlib.suppress(OSError):
            os.unlink(self.address)

    def _note_beat(self, mono: float, restarts: int) -> None:
        started = self._pulses.get(board.MANAGER).started if self._pulses.get(board.MANAGER).pid else mono
        self._pulses.set(board.Pulse(board.MANAGER, self.process.pid or 0, mono, started, restarts))

    def _await_socket(self) -> None:
        limit = time.monotonic() + MANAGER_START
        while (probe := board.knock(self.address)) is None and self.process.is_alive() and time.monotonic() < limit:
            wait([self.process.sentinel], 0.002)
        if probe is not None:
            probe.close()


def send(process: ForkProcess, number: signal.Signals) -> None:
    """Signals a child that has not been reaped."""
    with contextlib.suppress(ProcessLookupError, TypeError):
        if process.is_alive():
            os.kill(process.pid or 0, number)


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """A signal between a fork and the child's own handlers would be lost."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HEEDED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    base.become(board.MANAGER)
    base.hide()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
