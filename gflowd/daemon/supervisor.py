"""Keeps the workers and the Manager alive. Knows nothing of jobs.

The loop is the documentation: spawn missing processes, end silent ones, sleep, handle rings and signals, reap. It never
calls a Manager proxy, since with the Manager stopped such a call blocks without limit.
"""

from __future__ import annotations

import contextlib
import gc
import glob
import os
import signal
import time
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Protocol

from gflowd import log, paths
from gflowd.core.errors import GflowError, SystemFailed
from gflowd.daemon.children import ABORT_GRACE, HEEDED, Child, Host, Restarts, send
from gflowd.daemon.systemd import notify, watchdog_interval
from gflowd.effects import doorbell
from gflowd.workers import WORKERS, base, board, wanted
from gflowd.workers.board_slots import GATEWAY

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from gflowd.config.loader import Config
    from gflowd.paths import Runtime, State

    class Known(Protocol):
        """`shared_places.Known` is one."""

        def look(self) -> bool: ...
        def settle(self) -> None: ...


STOP_WITHIN = 5.0  # seconds for workers to end by themselves
BOOTS = 3  # a worker that failed to start this often running ends the daemon
ROTATE_EVERY = 60.0  # seconds
LOOK_EVERY = 10.0  # seconds between checks that our directories still exist


def serve(
    state: State,
    runtime: Runtime,
    config: Config,
    *,
    reload: Callable[[], Config],
    on_ready: Callable[[int], None],
    to_stderr: bool = False,
    known: Known | None = None,
) -> int:
    """Runs the daemon in this process until TERM or INT; returns the exit status. `on_ready` gets the descriptor of the
    pulses; many users find their daemon by what is `known`.

    HUP reads the configuration again through `reload` and restarts the workers; a wrong one is logged and
    the old one kept. Raises `SystemFailed` if a worker cannot be started at all.
    """
    return Supervisor(state, runtime, config, reload, on_ready, to_stderr=to_stderr, known=known).run()


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
        known: Known | None = None,
    ) -> None:
        self.state = state
        self.runtime = runtime
        self.config = config
        self.reload = reload
        self.on_ready = on_ready
        self.to_stderr = to_stderr
        self.log = log.get("supervisor")
        self.pulses = board.Pulses([board.MANAGER, *(row.name for row in WORKERS)])
        self.children: list[Child] = []
        self._staff()
        self.complaints, self._complain = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.bell = -1
        self.host: Host | None = None
        self.hosting = Restarts()
        self.hosts = 0
        self.home = paths.identity(state.root)
        self.known = known
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
        gc.freeze()  # memory in use by now stays shared between the processes
        try:
            while not self.leaving:
                self.spawn_missing()
                self.end_silent()
                self.announce()
                self.sleep(signals)
                self.hear()
                self.heed_signals(signals)
                self.reap()
                self.look_after_places()
        finally:
            self.end_all()
        if self.failure is not None:
            raise SystemFailed(self.failure)
        return 0

    def spawn_missing(self) -> None:
        """Starts the Manager first: a worker needs it to start."""
        if self.host is None:
            if self.hosting.due > time.monotonic():
                return
            self.hosts += 1
            self.host = Host(self.runtime.manager_socket(self.hosts), self.pulses, self.hosts - 1)
        for child in self.children:
            if child.process is None and not child.resting and child.due <= time.monotonic():
                child.spawn(self._wiring(self.host, child))

    def end_silent(self) -> None:
        """Ends processes that have been silent for too long: hung workers, or a Manager that does not respond."""
        mono = time.monotonic()
        for child in self.children:
            child.end_if_silent(mono)
        if self.host is not None:
            self.host.look(mono)

    def announce(self) -> None:
        """Reports once that all are up, and tells systemd's watchdog that we are alive."""
        essential = [child.row.name for child in self.children if child.row.is_essential]
        if not self.ready and all(self.pulses.get(name).beat for name in essential):
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
        """Waits until a child ends, a signal or ring arrives, the Manager responds, or something is due."""
        waited: list[int | socket.socket] = [signals, self.bell]
        waited += [child.process.sentinel for child in self.children if child.process is not None]
        if self.host is not None:
            waited += self.host.awaited
        wait(waited, max(0.0, self._next_due() - time.monotonic()))

    def hear(self) -> None:
        """Forwards rings to the workers that wake for them."""
        heard = set(doorbell.listen(self.bell))
        for child in self.children if heard else ():
            child.wake(heard)

    def heed_signals(self, signals: int) -> None:
        """TERM and INT end the daemon, HUP reloads its configuration."""
        _drain(signals)
        received, self.received = self.received, set()
        if received & {signal.SIGTERM, signal.SIGINT}:
            self.leaving = True
        elif signal.SIGHUP in received:
            self._reload()

    def reap(self) -> None:
        """Reaps dead children; if the Manager dies, the workers end too, which is not their crash."""
        if self.host is not None and not self.host.process.is_alive():
            self.log.warning("manager died", status=self.host.process.exitcode)
            self._start_all_again(ABORT_GRACE)
            self.hosting.delay()
        for child in self.children:
            if child.process is not None and not child.process.is_alive():
                self._bury(child)

    def look_after_places(self) -> None:
        """Creates again what was removed of the runtime directory; without its state directory the daemon ends."""
        home = paths.identity(self.state.root)
        if home != self.home:
            how = "is gone" if home is None else "is no longer the directory that gflowd was started with"
            self._give_up(f"{self.state.root} {how}")
        elif not paths.is_at(self.bell, self.runtime.bell):
            try:
                self.runtime.prepare()
                bell = doorbell.hang(self.runtime.bell)
            except (OSError, GflowError) as error:
                self._give_up(f"{self.runtime.root} cannot be created again: {error}")
                return
            os.close(self.bell)
            self.bell = bell
            self.log.warning("runtime directory created again", path=self.runtime.root)
            self._start_all_again(STOP_WITHIN)
        elif not self._are_sockets_there():
            self.log.warning("sockets made again", path=self.runtime.root)
            self._start_all_again(STOP_WITHIN)
        else:
            self._stay_known()

    def _stay_known(self) -> None:
        """Writes the file by which users find their daemon again, where somebody has removed or changed it."""
        try:
            if self.known is not None and self.known.look():
                self.log.warning("written again", path=self.state.path("shared"))
        except SystemFailed as error:
            self.log.error("users do not find gflowd", why=str(error))

    def _are_sockets_there(self) -> bool:
        """The Manager's, without which no worker starts, and the gate, if a worker listens there."""
        if self.host is not None and not os.path.lexists(self.host.address):
            return False
        pulse, shared = self.pulses.get(GATEWAY), self.state.shared
        return shared is None or not (pulse.pid and pulse.beat) or os.path.lexists(shared.gate)

    def _start_all_again(self, within: float) -> None:
        """Ends the workers and the Manager, which then make anew what they have in the runtime directory."""
        self._end_workers(within)
        if self.host is not None:
            self.host.end()
            self.host = None
        for child in self.children:
            child.due = time.monotonic()

    def _give_up(self, why: str) -> None:
        self.failure = why
        self.leaving = True

    def end_all(self) -> None:
        """Ends the workers, then the Manager; nothing of ours is left."""
        notify("STOPPING=1")
        self.pulses.announce_end()
        self._end_workers(STOP_WITHIN)
        if self.host is not None:
            self.host.end()
        for name in (board.MANAGER, *(child.row.name for child in self.children)):
            self.pulses.set(board.Pulse(name))

    def _wiring(self, host: Host, child: Child) -> base.Wiring:
        return base.Wiring(
            state=self.state,
            runtime=self.runtime,
            config=self.config,
            address=host.address,
            key=host.key,
            pulses=self.pulses,
            supervisor=os.getpid(),
            wake=child.wake_read,
            complaints=self._complain,
            to_stderr=self.to_stderr,
        )

    def _bury(self, child: Child) -> None:
        status = child.bury()
        if status is None:
            return
        said = self._complaint()
        self.log.warning("worker ended", worker=child.row.name, status=status, said=said)
        if child.failed_boots >= BOOTS and child.row.is_essential:
            self._give_up(f"{child.row.name} cannot start: {said or f'it ended with status {status}'}")

    def _end_workers(self, within: float) -> None:
        limit = time.monotonic() + within
        for child in self.children:
            if child.process is not None:
                send(child.process, signal.SIGTERM)
        for child in self.children:
            if child.process is not None:
                child.process.join(max(0.0, limit - time.monotonic()))
                if child.process.is_alive():
                    send(child.process, signal.SIGKILL)
                child.forget()

    def _reload(self) -> None:
        try:
            self.config = self.reload()
        except GflowError as error:
            self.log.error("configuration kept", why=str(error))
            return
        self.log.info("configuration reloaded")
        self._end_workers(STOP_WITHIN)
        if self.known is not None:
            self.known.settle()
        self._staff()

    def _staff(self) -> None:
        """Has a child for each worker that the configuration wants; those that were there before stay."""
        known = {child.row.name: child for child in self.children}
        rows = wanted(self.config, WORKERS)
        for row in WORKERS:
            if row not in rows:
                self.pulses.clear(row.name)
                if row.name in known:
                    known[row.name].dismiss()
            elif row.name not in known:
                self.pulses.set(board.Pulse(row.name))
        self.children = [known.get(row.name) or Child(row, self.pulses) for row in rows]
        for child in self.children:
            child.resting = child.row.is_at_rest(self.config, self.state)
            if child.resting:
                self.pulses.clear(child.row.name)

    def _next_due(self) -> float:
        """When something must be checked without a wake-up; monotonic."""
        mono = time.monotonic()
        due = [mono + LOOK_EVERY, self.rotated_at + ROTATE_EVERY]
        if self.host is None:
            due.append(self.hosting.due)  # no worker starts before
        else:
            due += [self.host.next_due(), *(child.next_due() for child in self.children)]
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

    def _take_signals(self) -> int:
        readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

        def note(number: int, _frame: object) -> None:
            self.received.add(number)

        signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
        for number in HEEDED:
            signal.signal(number, note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEEDED)
        return readable

    def _forget_old_sockets(self) -> None:
        for path in glob.glob(os.path.join(glob.escape(self.runtime.root), "manager.*.sock")):
            with contextlib.suppress(OSError):
                os.unlink(path)


def _drain(fd: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(fd, 4096):
            pass
