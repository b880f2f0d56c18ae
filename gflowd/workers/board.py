"""What the processes of the daemon share: the board (a Manager dict, one slot per worker) and the pulses.

The board holds states: a post replaces a whole slot, and only its owner posts to it. The pulses are a memory file that
every process has mapped: a worker stamps its own row, the supervisor reads them all without any lock or call, and
`gflowd status` reads them through /proc even when the daemon is stuck. None of it is state: it may vanish at any time.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import signal
import socket
import struct
from dataclasses import dataclass
from multiprocessing.managers import BaseManager, DictProxy
from typing import TYPE_CHECKING

from gflowd.workers.board_slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import ForkProcess

    from gflowd.workers.board_slots import Post

fork = multiprocessing.get_context("fork")

MANAGER = "manager"


class _Board(BaseManager):
    """The Manager; `slots` gives the one dict that it hosts."""


_slots: dict[str, Post] = {}
_Board.register("slots", callable=lambda: _slots, proxytype=DictProxy)


class Board:
    """A worker's connection to the board. Every call blocks while the Manager hangs; the supervisor handles that."""

    def __init__(self, address: str, key: bytes) -> None:
        manager = _Board(address=address, authkey=key)
        manager.connect()
        self._slots = manager.slots()  # type: ignore[attr-defined]

    def post(self, name: str, post: Post) -> None:
        """Replaces the slot `name`."""
        self._slots[name] = post

    def read(self) -> Slots:
        """Every slot, as last posted."""
        return Slots(self._slots.copy())


def serve(address: str, key: bytes, begin: Callable[[], None]) -> ForkProcess:
    """Forks the process that hosts the board; `begin` runs in it first. Its socket is at `address` soon after."""
    process = fork.Process(target=_serve, args=(address, key, begin), name=MANAGER, daemon=True)
    process.start()
    return process


def _serve(address: str, key: bytes, begin: Callable[[], None]) -> None:
    begin()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the whole process group may get it; the supervisor ends us last
    os.umask(0o177)
    _Board(address=address, authkey=key).get_server().serve_forever()


def knock(address: str) -> socket.socket | None:
    """A connection on which a live Manager sends first (its challenge); None if no process listens. Never blocks."""
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        probe.connect(address)
    except OSError:
        probe.close()
        return None
    return probe


_ROW = struct.Struct("32sqddq")  # name, pid, beat, started, restarts


@dataclass(frozen=True, slots=True)
class Pulse:
    """One process: `beat` and `started` are of the monotonic clock, in seconds; pid 0 while it is down."""

    name: str
    pid: int = 0
    beat: float = 0.0
    started: float = 0.0
    restarts: int = 0


class Pulses:
    """The rows of all processes, shared by every process forked after it was made."""

    def __init__(self, names: list[str]) -> None:
        self.fd = os.memfd_create("gflow-pulses", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, _ROW.size * len(names))
        self._map = mmap.mmap(self.fd, _ROW.size * len(names))
        self._place = {name: place * _ROW.size for place, name in enumerate(names)}
        for name in names:
            self.set(Pulse(name))

    def set(self, pulse: Pulse) -> None:
        """Writes a whole row; only the supervisor does, before it forks the process and after it died."""
        name = pulse.name.encode()
        _ROW.pack_into(self._map, self._place[pulse.name], name, pulse.pid, pulse.beat, pulse.started, pulse.restarts)

    def clear(self, name: str) -> None:
        """Empties the row of a process that is not wanted; only the supervisor does."""
        self._map[self._place[name] : self._place[name] + _ROW.size] = bytes(_ROW.size)

    def assign(self, name: str, pid: int) -> None:
        """Writes the pid of a process just forked, which may already send heartbeats."""
        struct.pack_into("q", self._map, self._place[name] + 32, pid)

    def beat(self, name: str, mono: float) -> None:
        """Stamps a row with the time; eight aligned bytes, so no reader sees half of it."""
        struct.pack_into("d", self._map, self._place[name] + 40, mono)

    def announce_end(self) -> None:
        """Says that all of the daemon ends, before its workers are told to; only the supervisor does."""
        self.set(Pulse(MANAGER))

    @property
    def is_ending(self) -> bool:
        """Whether all of the daemon ends, and not this worker alone."""
        return MANAGER in self._place and not self.get(MANAGER).pid

    def all(self) -> list[Pulse]:
        """The rows of all processes that are wanted."""
        return [pulse for pulse in map(self.get, self._place) if pulse.name]

    def get(self, name: str) -> Pulse:
        """One row."""
        return _pulse(self._map[self._place[name] : self._place[name] + _ROW.size])


def _pulse(row: bytes) -> Pulse:
    name, pid, beat, started, restarts = _ROW.unpack(row)
    return Pulse(name.rstrip(b"\0").decode(), pid, beat, started, restarts)


def read_pulses(pid: int, fd: int) -> list[Pulse]:
    """The pulses of the daemon whose supervisor is `pid`, read from outside, of the processes that are wanted. Raises
    OSError if it is gone.
    """
    with open(f"/proc/{pid}/fd/{fd}", "rb") as file:
        data = file.read()
    rows = (_pulse(data[place : place + _ROW.size]) for place in range(0, len(data), _ROW.size))
    return [pulse for pulse in rows if pulse.name]
