"""Connects this process's input and output with those of a job of `gflowctl run`, through pipes or a terminal.

What comes from the job is appended to its log. Nothing is read faster than it is taken at the other side.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import termios
import tty

from gflowctl.output import render
from gflowd.effects.attempt import relay_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BLOCK = 1 << 16  # bytes
PIECE = 4096  # bytes, which a pipe takes without waiting if it takes any (PIPE_BUF of pipe(7))
LAST_WORDS = 50  # milliseconds: what a process wrote to a terminal is at the other side a moment later
GONE = (errno.EPIPE, errno.EIO)  # nobody reads any more
SIZE = 24, 80  # lines and columns of a terminal that nobody sits at
STREAMS = ("standard input", "standard output", "standard error")


class Log:
    """The job's log. Mutable: opened at the first byte, when its directory is there. A full disk delays nobody."""

    def __init__(self) -> None:
        self._path: str | None = None
        self._fd: int | None = None

    def go_to(self, path: str) -> None:
        """What comes from now on goes to that file."""
        if path != self._path and self._fd is not None:
            os.close(self._fd)
            self._fd = None
        self._path = path

    def append(self, data: bytes) -> None:
        """Writes it, if that can be."""
        if self._path is None:
            return
        with contextlib.suppress(OSError):
            if self._fd is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
                self._fd = os.open(self._path, flags, 0o600)
            while data:
                data = data[os.write(self._fd, data) :]


class Flow:
    """One direction. Mutable: `source` and `sink` are None when they have ended."""

    def __init__(self, source: int, sink: int) -> None:
        self.source: int | None = source
        self.sink: int | None = sink
        self.held = memoryview(b"")  # read and not yet written

    @property
    def awaits(self) -> tuple[int, int] | None:
        """The descriptor and the event of poll(2) with which it goes on."""
        if self.held and self.sink is not None:
            return self.sink, select.POLLOUT
        return None if self.source is None else (self.source, select.POLLIN)

    def go_on(self) -> bool:
        """Does what it awaited; returns whether anything came or went."""
        return self._write() if self.held else self._read()

    def _read(self) -> bool:
        assert self.source is not None
        try:
            data = os.read(self.source, BLOCK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data:
            self.take(data)
        else:
            self.end()
        return bool(data)

    def _write(self) -> bool:
        assert self.sink is not None
        try:
            self.held = self.held[os.write(self.sink, self.held[:PIECE]) :]
        except BlockingIOError:
            return False
        except OSError as error:
            self.held = memoryview(b"")
            if error.errno not in GONE and self.sink < len(STREAMS):
                render.note(f"{STREAMS[self.sink]}: {error.strerror}")
            self.lose()
        return True

    def take(self, data: bytes) -> None:
        """What came."""
        self.held = memoryview(data)

    def end(self) -> None:
        """Nothing more comes."""
        self.source = None

    def lose(self) -> None:
        """Nobody takes anything more."""
        self.sink = self.source = None


class Input(Flow):
    """From us to the job. Its end is told by `farewell`, twice if a line is not complete, as one then only ends the
    line (termios(3), VEOF); without a farewell by closing `sink`.
    """

    def __init__(self, sink: int, farewell: bytes | None = None) -> None:
        super().__init__(0, sink)
        self.farewell = farewell
        self._within_line = False
        self.is_open = False  # what is typed before the job has begun is not yet for it

    @property
    def awaits(self) -> tuple[int, int] | None:
        """Only in the foreground may a terminal be read: who does so in the background is stopped."""
        found = super().awaits
        if found is not None and found[0] == 0 and not (self.is_open and may_read()):
            return None
        return found

    def take(self, data: bytes) -> None:
        super().take(data)
        self._within_line = not data.endswith((b"\n", b"\r"))

    def end(self) -> None:
        super().end()
        if self.farewell is not None:
            self.held = memoryview(self.farewell * (2 if self._within_line else 1))
        elif self.sink is not None:
            os.close(self.sink)
            self.sink = None


class Output(Flow):
    """From the job to us and its log. `goes_on`: when nobody takes it here, it still goes to the log; else the job gets
    SIGPIPE.
    """

    def __init__(self, source: int, sink: int, log: Log, *, goes_on: bool) -> None:
        super().__init__(source, sink)
        self.goes_on = goes_on
        self._log = log

    def take(self, data: bytes) -> None:
        self._log.append(data)
        if self.sink is not None:
            super().take(data)

    def lose(self) -> None:
        self.sink = None
        if not self.goes_on and self.source is not None:
            os.close(self.source)
            self.source = None


class Pipes:
    """Three pipes, so that what is written to each stream comes out of the same stream here."""

    def __init__(self, directory: str, *, detach: bool) -> None:
        self.log = Log()
        self._alive = relay_directory.make(directory)
        sink, self._kept = relay_directory.open_to_feed(directory)
        self.input = Input(sink)
        sources = (relay_directory.open_pipe(directory, name) for name in (relay_directory.OUT, relay_directory.ERR))
        self.outputs = [Output(each, sink, self.log, goes_on=detach) for sink, each in enumerate(sources, 1)]

    def begin(self) -> None:
        """The job has begun."""
        self.input.is_open = True

    def let_go(self) -> None:
        """The job takes no more input."""
        self.input.is_open = False

    def attend(self) -> None:
        """Pipes have no modes."""

    def resize(self) -> None:
        """Pipes have no size."""

    def finish(self) -> None:
        """The job has ended: passes on what is left of its output."""
        self.let_go()
        _drain(self.outputs, 0)


class Terminal:
    """A terminal of the job's own, which looks like ours; ours passes every key on meanwhile."""

    def __init__(self, directory: str, *, detach: bool) -> None:
        del detach  # a job in a terminal is told of its loss by SIGHUP, not by SIGPIPE
        self.log = Log()
        self._ours: list[Any] | None = termios.tcgetattr(0) if os.isatty(0) else None
        self._master, slave = os.openpty()
        self._slave: int | None = slave
        self._raw = False
        os.set_blocking(self._master, False)
        if self._ours is not None:
            termios.tcsetattr(slave, termios.TCSANOW, self._ours)
        self.resize()
        self._alive = relay_directory.make(directory, tty=slave)
        end_of_file: bytes = termios.tcgetattr(slave)[6][termios.VEOF]
        farewell = end_of_file if self._ours is None else b""  # a terminal of our own ends only when it is lost
        self.input = Input(self._master, farewell)
        self.outputs = [Output(self._master, 1, self.log, goes_on=True)]

    def begin(self) -> None:
        """The job has begun, or we have been stopped, and the shell has had the terminal."""
        self.input.is_open = True
        self._raw = False
        self.attend()

    def attend(self) -> None:
        """Takes every key once we are in the foreground: who changes a terminal in the background is stopped."""
        if self.input.is_open and not self._raw and self._ours is not None and may_read():
            self._raw = True
            with contextlib.suppress(termios.error):  # it is gone
                tty.setraw(0, termios.TCSADRAIN)

    def let_go(self) -> None:
        """Gives us back our terminal as it was."""
        self.input.is_open = False
        if self._raw:
            self._raw = False
            with contextlib.suppress(termios.error):
                termios.tcsetattr(0, termios.TCSADRAIN, self._ours)  # type: ignore[arg-type]

    def resize(self) -> None:
        """The job's terminal is as large as ours."""
        size = (0, 0)
        with contextlib.suppress(termios.error):
            size = next((termios.tcgetwinsize(fd) for fd in range(3) if os.isatty(fd)), size)
        termios.tcsetwinsize(self._master, size if all(size) else SIZE)

    def finish(self) -> None:
        """The job has ended: passes on what is left of its output."""
        if self._slave is not None:
            os.close(self._slave)
            self._slave = None
        _drain(self.outputs, LAST_WORDS)
        self.let_go()


def turn(link: Pipes | Terminal, wake: int, timeout: float) -> bool:
    """Waits until anything can be passed on, a byte comes at `wake`, or `timeout` seconds have passed; returns whether
    anything was passed on.
    """
    link.attend()
    return _turn([link.input, *link.outputs], wake, round(timeout * 1000))


def _turn(flows: list[Any], wake: int | None, milliseconds: int) -> bool:
    awaited: dict[int, int] = {} if wake is None else {wake: select.POLLIN}
    waiting = [(flow, *found) for flow in flows if (found := flow.awaits) is not None]
    for _, fd, event in waiting:
        awaited[fd] = awaited.get(fd, 0) | event
    poll = select.poll()
    for fd, events in awaited.items():
        poll.register(fd, events)
    ready = dict(poll.poll(milliseconds))
    other = select.POLLIN | select.POLLOUT
    moved = [flow.go_on() for flow, fd, event in waiting if ready.get(fd, 0) & (event | ~other)]
    return any(moved)


def _drain(flows: list[Output], milliseconds: int) -> None:
    """Passes on all that is there, for as long as that is taken."""
    left: list[Output] = flows
    while left:
        holding = any(flow.held for flow in left)
        if not _turn(left, None, -1 if holding else milliseconds) and not holding:
            return
        left = [flow for flow in left if flow.awaits is not None]


def may_read() -> bool:
    """Whether our standard input is no terminal, or one in whose foreground we are."""
    try:
        return not os.isatty(0) or os.tcgetpgrp(0) == os.getpgrp()
    except OSError:  # it is gone, as reading it will show
        return True
