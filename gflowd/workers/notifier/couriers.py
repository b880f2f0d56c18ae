"""Processes that deliver, one for each receiver at a time, so that a receiver that hangs delays no other and nothing of
ours. Each says after each message how it went.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import warnings
from typing import TYPE_CHECKING, NamedTuple

from gflowd.core.notify.retries import Outcome
from gflowd.effects import proc
from gflowd.workers.base import PR_SET_PDEATHSIG

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from gflowd.storage.outbox import Unit
    from gflowd.workers.notifier.delivery import Deliver


class Report(NamedTuple):
    """How the delivery of a unit went."""

    unit: Unit
    outcome: Outcome


class Courier:
    """A process that delivers `units` to one receiver, one after another, and stops at the first that fails."""

    def __init__(
        self,
        key: str,
        units: Sequence[Unit],
        timeout: float,
        opened: Callable[[], AbstractContextManager[Deliver]],
        mono: float,
    ) -> None:
        self.key = key
        self._units = list(units)
        self._timeout = timeout
        self._heard = b""
        self._reported = 0
        self._failed = False
        self.deadline = mono + timeout
        self.fd, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._pid = os.fork()
        if not self._pid:
            _deliver(self._units, opened, writing)
        os.close(writing)

    def reports(self, mono: float) -> tuple[list[Report], bool]:
        """What it has said since the last call, and whether it has ended; it is ended if it takes too long."""
        is_over = self._hear()
        found = self._take(mono)
        if not is_over and mono >= self.deadline:
            self.end()
            return [*found, *self._fail(f"no end within {self._timeout:g} s")], True
        if is_over:
            status = self._reap()
            found += self._fail(f"the process that delivers ended with status {status}")
        return found, is_over

    def end(self) -> None:
        """Kills it and what it has started, which has groups of its own."""
        with contextlib.suppress(OSError):
            os.kill(self._pid, signal.SIGSTOP)
        for pid in [*proc.children(self._pid), self._pid]:
            for kill in (os.killpg, os.kill):
                with contextlib.suppress(OSError):
                    kill(pid, signal.SIGKILL)
        self._reap()

    def _hear(self) -> bool:
        """Reads; returns whether it has ended."""
        try:
            while part := os.read(self.fd, 65536):
                self._heard += part
        except BlockingIOError:
            return False
        return True

    def _take(self, mono: float) -> list[Report]:
        *lines, self._heard = self._heard.split(b"\n")
        found = []
        for line in lines:
            outcome = Outcome(*json.loads(line))
            found.append(Report(self._units[self._reported], outcome))
            self._reported += 1
            self._failed |= outcome.kind == "again"
            self.deadline = mono + self._timeout
        return found

    def _fail(self, why: str) -> list[Report]:
        """The unit at which it was, if it had one left to deliver."""
        if self._failed or self._reported == len(self._units):
            return []
        return [Report(self._units[self._reported], Outcome("again", why))]

    def _reap(self) -> int:
        os.close(self.fd)
        with contextlib.suppress(ChildProcessError):
            return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return 0


def _deliver(units: Sequence[Unit], opened: Callable[[], AbstractContextManager[Deliver]], writing: int) -> None:
    """The life of the process."""
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        os.set_blocking(writing, True)
        with contextlib.suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as comm:
            comm.write("gflowd:courier")
        warnings.simplefilter("ignore")  # of libraries, to nobody who could mend them
        with opened() as deliver:
            for unit in units:
                outcome = _guarded(deliver, unit)
                os.write(writing, json.dumps([outcome.kind, outcome.why, outcome.wait]).encode() + b"\n")
                if outcome.kind == "again":
                    break
    finally:
        os._exit(0)


def _guarded(deliver: Deliver, unit: Unit) -> Outcome:
    try:
        return deliver(unit)
    except Exception as error:  # the bottom of this process; whatever a library does, others are still served
        return Outcome("again", type(error).__name__)
