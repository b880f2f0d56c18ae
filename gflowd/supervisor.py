"""Keeps the workers and the Manager alive. Knows nothing of jobs.

The loop is the documentation: spawn the missing, end the silent, sleep, hear the bell and the signals, reap. It never
calls a Manager proxy, since with the Manager stopped such a call blocks without limit.
"""

from __future__ import annotations

import contextlib
import gc
import glob
import os
import signal
import socket
import time
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from gflowd import board, log
from gflowd.core.errors import GflowError, SystemFailed
from gflowd.effects import doorbell
from gflowd.workers import WORKERS, Row, base

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import ForkProcess

    from gflowd.config import Config
    from gflowd.paths import Runtime, State

SILENCE = 30.0  # seconds without a beat after which a worker is taken for hung
ABORT_GRACE = 1.0  # seconds between ABRT and KILL for a silent one
PROBE_EVERY = 10.0  # seconds between looks at the Manager
PROBE_SILENCE = 5.0  # seconds after which a Manager that does not speak is killed
STOP_WITHIN = 5.0  # seconds for workers to end by themselves
LONGEST_DELAY = 60.0  # seconds between restarts of a worker that goes on crashing
CALM = 60.0  # seconds without a crash after which the next restart is immediate again
BOOTS = 3  # a worker that failed to start this often running ends the daemon
MANAGER_START = 5.0  # seconds for a new Manager's socket to appear
ROTATE_EVERY = 60.0  # seconds


@dataclass(slots=True)
class Child:
    """A worker, while it runs and while it waits to run again."""

    row: Row
    wake_read: int
    wake_write: int
    process: ForkProcess | None = None
    due: float = 0.0  # monotonic time of its next start
    crashes: int = 0  # since it was last calm
    last_crash: float = float("-inf")
    failed_boots: int = 0
    restarts: int = 0
    aborted_at: float | None = None


@dataclass(slots=True)
class Manager:
    """The process that hosts the board, and how we look after it."""

    process: ForkProcess
    address: str
    key: bytes
    probe: socket.socket | None = None
    probed_at: float = field(default_factory=time.monotonic)


def serve(
    state: State,
    runtime: Runtime,
    config: Config,
    *,
    reload: Callable[[], Config],
    on_ready: Callable[[int], None],
    to_stderr: bool = False,
) -> int:
    """Runs the daemon in this process until TERM or INT; the exit status. `on_ready` gets the pulses' descriptor.

    HUP reads the configuration anew through `reload` and starts the workers again; one that is wrong is logged and
    the old one kept. Raises `SystemFailed` when a worker cannot be started at all.
    """
    return Supervisor(state, runtime, config, reload, on_ready, to_stderr=to_stderr).run()


class Supervisor:
    """The state of the loop."""

    def __init__(
        self,
        state: State,
        runtime: Runtime,
        config: Config,
        reload: Callable[[], Config],
        on_ready: Callable[[int], None],
        *,
        to_stderr: bool,
    ) -> None:
        self.state = state
        self.runtime = runtime
        self.config = config
        self.reload = reload
        self.on_ready = on_ready
        self.to_stderr = to_stderr
        self.log = log.get("supervisor")
        self.pulses = board.Pulses([board.MANAGER, *(row.name for row in WORKERS)])
        self.children = [Child(row, *os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)) for row in WORKERS]
        self.complaints, self._complain = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.bell = -1
        self.manager: Manager | None = None
        self.managers = 0
        self.received: set[int] = set()
        self.leaving = False
        self.ready = False
        self.failure: str | None = None
        self.rotated_at = time.monotonic()

    def run(self) -> int:
        """The loop."""
        try:
            self.bell = doorbell.hang(self.runtime.bell)
        except OSError as error:
            raise SystemFailed(f"{self.runtime.bell}: {error.strerror}") from error
        signals = self._take_signals()
        self._forget_old_sockets()
        gc.freeze()  # what is loaded by now stays shared between the processes
        try:
            while not self.leaving:
                self.spawn_missing()
                self.end_silent()
                self.announce()
                self.sleep(signals)
                self.hear()
                self.heed_signals(signals)
                self.reap()
        finally:
            self.end_all()
        if self.failure is not None:
            raise SystemFailed(self.failure)
        return 0

    def spawn_missing(self) -> None:
        """The Manager first: a worker needs it to start."""
        if self.manager is None:
            self._spawn_manager()
        for child in self.children:
            if child.process is None and child.due <= time.monotonic():
                self._spawn(child)

    def end_silent(self) -> None:
        """Ends who has not been heard of for too long: hung workers, and a Manager that does not speak."""
        mono = time.monotonic()
        for child in self.children:
            if child.process is None:
                continue
            pulse = self.pulses.get(child.row.name)
            if mono - max(pulse.beat, pulse.started) <= SILENCE:
                continue
            if child.aborted_at is None:
                child.aborted_at = mono
                self.log.warning("silent", worker=child.row.name, pid=pulse.pid)
                self._signal(child.process, signal.SIGABRT)
            elif mono - child.aborted_at > ABORT_GRACE:
                self._signal(child.process, signal.SIGKILL)
        self._look_at_manager(mono)

    def announce(self) -> None:
        """Says once that all are up, and to systemd's watchdog that we are alive."""
        if not self.ready and all(self.pulses.get(row.name).beat for row in WORKERS):
            self.ready = True
            for child in self.children:
                child.failed_boots = 0
            self.on_ready(self.pulses.fd)
            notify("READY=1")
        notify("WATCHDOG=1")
        if time.monotonic() - self.rotated_at > ROTATE_EVERY:
            self.rotated_at = time.monotonic()
            log.rotate(self.state.log)

    def sleep(self, signals: int) -> None:
        """Until a child ends, a signal or a ring comes, the Manager speaks, or something is due."""
        waited: list[int | socket.socket] = [signals, self.bell]
        waited += [child.process.sentinel for child in self.children if child.process is not None]
        if self.manager is not None:
            waited.append(self.manager.process.sentinel)
            if self.manager.probe is not None:
                waited.append(self.manager.probe)
        wait(waited, max(0.0, self._next_due() - time.monotonic()))

    def hear(self) -> None:
        """Passes on what was rung to those who wake for it."""
        heard = set(doorbell.listen(self.bell))
        for child in self.children if heard else ():
            if heard & set(child.row.wakes_for):
                with contextlib.suppress(BlockingIOError):
                    os.write(child.wake_write, b".")

    def heed_signals(self, signals: int) -> None:
        """TERM and INT end the daemon, HUP reloads its configuration."""
        _drain(signals)
        received, self.received = self.received, set()
        if received & {signal.SIGTERM, signal.SIGINT}:
            self.leaving = True
        elif signal.SIGHUP in received:
            self._reload()

    def reap(self) -> None:
        """Takes note of the dead; the Manager's death takes the workers with it, and is not their crash."""
        if self.manager is not None and not self.manager.process.is_alive():
            self.log.warning("manager died", status=self.manager.process.exitcode)
            self._replace_manager()
        for child in self.children:
            if child.process is not None and not child.process.is_alive():
                self._bury(child)

    def end_all(self) -> None:
        """Workers first, then the Manager; nothing of ours is left."""
        notify("STOPPING=1")
        self._end_workers(STOP_WITHIN)
        if self.manager is not None:
            self._end_manager(self.manager)
        for pid_row in (board.MANAGER, *(row.name for row in WORKERS)):
            self.pulses.set(board.Pulse(pid_row))

    def _spawn_manager(self) -> None:
        self.managers += 1
        address = self.runtime.manager_socket(self.managers)
        key = os.urandom(32)
        with _signals_blocked():
            process = board.serve(address, key, _begin_manager)
        self.manager = Manager(process, address, key)
        self.pulses.set(
            board.Pulse(board.MANAGER, process.pid or 0, time.monotonic(), time.monotonic(), self.managers - 1)
        )
        limit = time.monotonic() + MANAGER_START
        while (probe := board.knock(address)) is None and process.is_alive() and time.monotonic() < limit:
            wait([process.sentinel], 0.002)
        if probe is not None:
            probe.close()

    def _spawn(self, child: Child) -> None:
        assert self.manager is not None
        wiring = base.Wiring(
            state=self.state,
            runtime=self.runtime,
            config=self.config,
            address=self.manager.address,
            key=self.manager.key,
            pulses=self.pulses,
            supervisor=os.getpid(),
            wake=child.wake_read,
            complaints=self._complain,
            to_stderr=self.to_stderr,
        )
        mono = time.monotonic()
        self.pulses.set(board.Pulse(child.row.name, 0, 0.0, mono, child.restarts))
        with _signals_blocked():
            process = board.fork.Process(target=base.main, args=(child.row, wiring), name=child.row.name, daemon=True)
            process.start()
        child.process, child.aborted_at = process, None
        self.pulses.assign(child.row.name, process.pid or 0)

    def _bury(self, child: Child) -> None:
        assert child.process is not None
        status = child.process.exitcode
        booted = self.pulses.get(child.row.name).beat > 0
        self._forget(child)
        if status == base.BOARD_LOST:
            return
        said = self._complaint()
        self.log.warning("worker ended", worker=child.row.name, status=status, said=said)
        child.restarts += 1
        child.failed_boots = 0 if booted else child.failed_boots + 1
        if child.failed_boots >= BOOTS:
            self.failure = f"{child.row.name} cannot start: {said or f'it ended with status {status}'}"
            self.leaving = True
        self._delay(child)

    def _delay(self, child: Child) -> None:
        mono = time.monotonic()
        child.crashes = 1 if mono - child.last_crash > CALM else child.crashes + 1
        child.last_crash = mono
        child.due = mono if child.crashes == 1 else mono + min(LONGEST_DELAY, 2.0 ** (child.crashes - 2))

    def _forget(self, child: Child) -> None:
        if child.process is not None:
            child.process.join()
            child.process.close()
        child.process = None
        pulse = self.pulses.get(child.row.name)
        self.pulses.set(board.Pulse(child.row.name, 0, pulse.beat, pulse.started, child.restarts))

    def _look_at_manager(self, mono: float) -> None:
        manager = self.manager
        if manager is None:
            return
        if manager.probe is not None:
            if wait([manager.probe], 0):
                manager.probe.close()
                manager.probe = None
                pulse = self.pulses.get(board.MANAGER)
                self.pulses.set(board.Pulse(board.MANAGER, pulse.pid, mono, pulse.started, pulse.restarts))
            elif mono - manager.probed_at > PROBE_SILENCE:
                self.log.warning("manager is silent", pid=manager.process.pid)
                self._signal(manager.process, signal.SIGKILL)
                manager.probed_at = mono
        elif mono - manager.probed_at >= PROBE_EVERY:
            manager.probed_at = mono
            manager.probe = board.knock(manager.address)
            if manager.probe is None:
                self._signal(manager.process, signal.SIGKILL)

    def _replace_manager(self) -> None:
        assert self.manager is not None
        self._end_workers(ABORT_GRACE)
        self._end_manager(self.manager)
        self.manager = None
        for child in self.children:
            child.due = time.monotonic()

    def _end_workers(self, within: float) -> None:
        limit = time.monotonic() + within
        for child in self.children:
            if child.process is not None:
                self._signal(child.process, signal.SIGTERM)
        for child in self.children:
            if child.process is not None:
                child.process.join(max(0.0, limit - time.monotonic()))
                if child.process.is_alive():
                    self._signal(child.process, signal.SIGKILL)
                self._forget(child)

    def _end_manager(self, manager: Manager) -> None:
        if manager.probe is not None:
            manager.probe.close()
        self._signal(manager.process, signal.SIGKILL)
        manager.process.join()
        manager.process.close()
        with contextlib.suppress(OSError):
            os.unlink(manager.address)

    def _reload(self) -> None:
        try:
            self.config = self.reload()
        except GflowError as error:
            self.log.error("configuration kept", why=str(error))
            return
        self.log.info("configuration reloaded")
        self._end_workers(STOP_WITHIN)

    def _next_due(self) -> float:
        """When something must be looked at without being woken for it; monotonic."""
        mono = time.monotonic()
        due = [mono + LONGEST_DELAY, self.rotated_at + ROTATE_EVERY]
        for child in self.children:
            if child.process is None:
                due.append(child.due)
            elif child.aborted_at is not None:
                due.append(child.aborted_at + ABORT_GRACE)
            else:
                pulse = self.pulses.get(child.row.name)
                due.append(max(pulse.beat, pulse.started) + SILENCE + 0.1)
        if self.manager is not None:
            patience = PROBE_EVERY if self.manager.probe is None else PROBE_SILENCE
            due.append(self.manager.probed_at + patience)
        if (watchdog := watchdog_interval()) is not None:
            due.append(mono + watchdog / 2)
        return min(due)

    def _complaint(self) -> str | None:
        """The last sentence that a worker left."""
        try:
            said = os.read(self.complaints, 65536).decode(errors="replace").strip()
        except BlockingIOError:
            return None
        return said.rpartition("\n")[2] or None

    def _signal(self, process: ForkProcess, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, TypeError):
            if process.is_alive():
                os.kill(process.pid or 0, number)

    def _take_signals(self) -> int:
        readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

        def note(number: int, _frame: object) -> None:
            self.received.add(number)

        signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        return readable

    def _forget_old_sockets(self) -> None:
        for path in glob.glob(os.path.join(glob.escape(self.runtime.root), "manager.*.sock")):
            with contextlib.suppress(OSError):
                os.unlink(path)


def _begin_manager() -> None:
    base.become(board.MANAGER)
    base.hide()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


@contextlib.contextmanager
def _signals_blocked():  # type: ignore[no-untyped-def]  # noqa: ANN202
    """A signal that came between a fork and the child's own handlers would be noted by nobody."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _drain(fd: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(fd, 4096):
            pass


def notify(message: str) -> None:
    """Tells systemd, where it listens (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.sendto(message.encode(), "\0" + address[1:] if address.startswith("@") else address)


def watchdog_interval() -> float | None:
    """Seconds within which systemd wants to hear from us, if it does."""
    micros = os.environ.get("WATCHDOG_USEC", "")
    return int(micros) / 1e6 if micros.isdigit() and os.environ.get("NOTIFY_SOCKET") else None
