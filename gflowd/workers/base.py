"""The loop of every worker: waits, ticks, sends heartbeats, posts and rings. Knows nothing of jobs."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import select
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from gflowd import log
from gflowd.core.errors import GflowError
from gflowd.core.moment import Moment
from gflowd.effects import doorbell, proc
from gflowd.workers.board import Board
from gflowd.workers.board_slots import Post

if TYPE_CHECKING:
    from gflowd.config.loader import Config
    from gflowd.paths import Runtime, State
    from gflowd.workers import Row
    from gflowd.workers.board import Pulses
    from gflowd.workers.board_slots import Slots

LONGEST_SLEEP = 10.0  # seconds: a worker with rarer heartbeats would count as hung (children.SILENCE)
BOARD_LOST = 75  # exit status: not a crash of the worker, the Manager went away
CANNOT_START = 3
RESTS = 76  # exit status: it has nothing to do, and is started again when it has

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the supervisor passes to a worker. `wake` becomes readable when others ring; `complaints` takes one last
    sentence.
    """

    state: State
    runtime: Runtime
    config: Config
    address: str
    key: bytes
    pulses: Pulses
    supervisor: int
    wake: int
    complaints: int
    to_stderr: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """The result of a tick. Others act on `decision`, and a change of it rings; `detail` is only posted.

    `wake_at` is on the monotonic clock; `descriptors` wake the worker when they become readable; rings that come before
    `deaf_until` (monotonic) wake it then. With `rests` the worker ends, if its row says what starts it again.
    """

    decision: object
    detail: object = None
    wake_at: float | None = None
    descriptors: tuple[int, ...] = ()
    rings: bytes = b""
    deaf_until: float = 0.0
    rests: bool = False

    @property
    def post(self) -> Post:
        """The part that goes on the board."""
        return Post(self.decision, self.detail)


class Worker(Protocol):
    """A worker module has `open(wiring) -> Worker`."""

    def tick(self, now: Moment, slots: Slots) -> Turn:
        """Reads the world and the others' slots; never waits for long."""

    def close(self) -> None:
        """Ends cleanly."""


@dataclass(slots=True)
class _Stop:
    """Whether the worker was told to end."""

    wanted: bool = False
    readable: int = field(default=-1)


def become(name: str) -> None:
    """Names this process in `ps` (15 bytes are shown) and ties its life to its parent's."""
    with contextlib.suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as comm:
        comm.write(f"gflowd:{name}"[:15])
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def hide() -> None:
    """Keeps others of the same user from reading this process's memory, where the board's key is."""
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0)


def now(boot: str) -> Moment:
    """The present moment."""
    return Moment(time.time(), time.monotonic(), boot)


def main(row: Row, wiring: Wiring) -> None:
    """The whole life of a worker process; ends it."""
    stop = _take_signals()
    become(row.name)
    log.setup(wiring.state, row.name, wiring.config.log_level, stderr=wiring.to_stderr)
    logger = log.get(row.name)
    if os.getppid() != wiring.supervisor:
        os._exit(0)
    try:
        board = Board(wiring.address, wiring.key)
        worker: Worker = importlib.import_module(f"gflowd.workers.{row.module or row.name}").open(wiring)
    except (ConnectionError, EOFError, FileNotFoundError):
        os._exit(BOARD_LOST)
    except Exception as error:
        expected = isinstance(error, (GflowError, OSError, ImportError))
        why = str(error) if expected else f"{type(error).__name__}: {error}"
        logger.error("cannot start", why=why, **({} if expected else {"where": _where(error)}))
        os.write(wiring.complaints, f"{why}\n".encode())
        os._exit(CANNOT_START)
    try:
        status = _loop(row, wiring, board, worker, stop)
        worker.close()
    except (ConnectionError, EOFError):
        os._exit(BOARD_LOST)
    except Exception as error:  # the bottom of a worker: one crash, one restart
        logger.error("crashed", error=repr(error), where=_where(error))
        os.write(wiring.complaints, f"{type(error).__name__}: {error}\n".encode())
        os._exit(1)
    os._exit(status)


def _where(error: BaseException) -> str:
    import traceback

    return " < ".join(
        f"{f.filename.rpartition('/')[2]}:{f.lineno}" for f in reversed(traceback.extract_tb(error.__traceback__))
    )


def _loop(row: Row, wiring: Wiring, board: Board, worker: Worker, stop: _Stop) -> int:
    """Returns the exit status of the worker."""
    boot = proc.boot_id()
    last: Turn | None = None
    while not stop.wanted and os.getppid() == wiring.supervisor:
        turn = worker.tick(now(boot), board.read())
        wiring.pulses.beat(row.name, time.monotonic())
        if last is None or turn.post != last.post:
            board.post(row.name, turn.post)
        rings = turn.rings + (row.rings if last is None or turn.decision != last.decision else b"")
        if rings:
            doorbell.ring(wiring.runtime.bell, rings)
        if turn.rests:
            return RESTS
        last = turn
        _wait(turn, wiring.wake, stop)
    return 0


def _wait(turn: Turn, wake: int, stop: _Stop) -> None:
    sleep = LONGEST_SLEEP
    if turn.wake_at is not None:
        sleep = min(sleep, max(0.0, turn.wake_at - time.monotonic()))
    poll = select.poll()
    for descriptor in (stop.readable, *turn.descriptors):
        poll.register(descriptor, select.POLLIN)
    deaf = min(sleep, turn.deaf_until - time.monotonic())
    if deaf <= 0 or not poll.poll(deaf * 1000):
        poll.register(wake, select.POLLIN)
        poll.poll(max(0.0, sleep - max(0.0, deaf)) * 1000)
    doorbell.listen(wake)
    doorbell.listen(stop.readable)  # any signal is noted there, an alarm too


def _take_signals() -> _Stop:
    """TERM ends the loop; what a terminal sends to the whole group is the supervisor's to handle."""
    stop = _Stop()
    stop.readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def end(_signal: int, _frame: object) -> None:
        stop.wanted = True

    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, end)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return stop
