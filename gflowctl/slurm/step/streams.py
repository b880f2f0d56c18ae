"""What goes between srun and its tasks: lines of several tasks in whole, with labels where asked for; input to all."""

from __future__ import annotations

import os
import select

from gflowctl.output import render

BLOCK = 1 << 16  # bytes
LONGEST_LINE = 1 << 16  # bytes: a longer one is passed on in parts
STREAMS = {1: "standard output", 2: "standard error"}


class Sink:
    """Where output goes. Mutable: `lost` once it takes no more, `failed` if not by its reader's will."""

    def __init__(self, fd: int, path: str | None = None) -> None:
        self.fd = fd
        self.lost = self.failed = False
        self._path = path

    def write(self, data: bytes) -> None:
        """Writes all of it, or loses it."""
        rest = memoryview(data)
        while rest and not self.lost:
            try:
                rest = rest[os.write(self.fd, rest) :]
            except BlockingIOError:
                poll = select.poll()
                poll.register(self.fd, select.POLLOUT)
                poll.poll()
            except BrokenPipeError:
                self.lost = True
            except OSError as error:
                self.lost = self.failed = True
                render.note(f"error: {self._path or STREAMS.get(self.fd, 'output')}: {error.strerror}")


class Output:
    """From a task to a sink. Mutable: what has come of a line that is not complete."""

    event = select.POLLIN

    def __init__(self, source: int, sink: Sink, label: bytes, *, by_lines: bool) -> None:
        self.fd: int | None = source
        self._sink = sink
        self._label = label
        self._by_lines = by_lines
        self._held = b""
        os.set_blocking(source, False)

    def go_on(self) -> bool:
        """Passes on what is there; returns whether that was anything."""
        assert self.fd is not None
        try:
            data = os.read(self.fd, BLOCK)
        except BlockingIOError:
            return False
        if data:
            self._take(data)
        else:
            self._end()
        if self._sink.lost and self.fd is not None:
            self._close()  # so that its writers learn it
        return True

    def finish(self) -> None:
        """The tasks have ended: passes on what is left, without waiting for whoever may have it open still."""
        while self.fd is not None and self.go_on():
            pass
        if self.fd is not None:
            self._end()

    def _take(self, data: bytes) -> None:
        if not self._by_lines and not self._label:
            self._sink.write(data)
            return
        whole, newline, rest = (self._held + data).rpartition(b"\n")
        self._held = rest
        if newline:
            self._put(whole + newline)
        if len(self._held) >= LONGEST_LINE or (self._held and not self._by_lines):
            self._put(self._held + (b"\n" if self._label else b""))
            self._held = b""

    def _put(self, lines: bytes) -> None:
        if self._label:
            lines = self._label + lines[:-1].replace(b"\n", b"\n" + self._label) + lines[-1:]
        self._sink.write(lines)

    def _end(self) -> None:
        if self._held:
            self._put(self._held + (b"\n" if self._label else b""))
            self._held = b""
        self._close()

    def _close(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


class Input:
    """Our standard input, to tasks. Mutable: what each has not taken yet."""

    def __init__(self, source: int, sinks: list[int]) -> None:
        self._source: int | None = source
        self.left: dict[int, memoryview] = {fd: memoryview(b"") for fd in sinks}
        for fd in sinks:
            os.set_blocking(fd, False)

    def awaits(self) -> list[tuple[int, int]]:
        """The descriptors and events with which it goes on."""
        full = [(fd, select.POLLOUT) for fd, rest in self.left.items() if rest]
        if full or self._source is None or not self.left or not _may_read(self._source):
            return full
        return [(self._source, select.POLLIN)]

    def go_on(self, fd: int) -> None:
        """Something can be read or written at `fd`."""
        if fd == self._source:
            self._read(fd)
        elif fd in self.left:
            self._write(fd)

    def _read(self, source: int) -> None:
        try:
            data = os.read(source, BLOCK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._source = None
            for fd in [*self.left]:
                self._drop(fd)
        for fd in [*self.left]:
            self.left[fd] = memoryview(data)
            self._write(fd)

    def _write(self, fd: int) -> None:
        try:
            rest = self.left[fd]
            self.left[fd] = rest[os.write(fd, rest) :]
        except BlockingIOError:
            pass
        except OSError:  # the task reads no more
            self._drop(fd)

    def _drop(self, fd: int) -> None:
        os.close(fd)
        del self.left[fd]


def _may_read(fd: int) -> bool:
    """Whether it is no terminal, or one in whose foreground we are."""
    try:
        return not os.isatty(fd) or os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return True


class Screen:
    """Our terminal and that of a task, both ways. Mutable: our terminal's modes while they are changed."""

    def __init__(self) -> None:
        import termios

        self._termios = termios
        self._ours = termios.tcgetattr(0)
        self.master, self.slave = os.openpty()
        termios.tcsetattr(self.slave, termios.TCSANOW, self._ours)
        os.set_blocking(self.master, False)
        self._held = memoryview(b"")
        self._open = True
        self.resize()

    def begin(self) -> None:
        """Passes every key on from now."""
        import tty

        tty.setraw(0, self._termios.TCSADRAIN)
        os.close(self.slave)

    def resize(self) -> None:
        """The task's terminal is as large as ours."""
        self._termios.tcsetwinsize(self.master, self._termios.tcgetwinsize(0))

    def awaits(self) -> list[tuple[int, int]]:
        """The descriptors and events with which it goes on."""
        found = [(self.master, select.POLLIN | (select.POLLOUT if self._held else 0))] if self._open else []
        return found if self._held else [*found, (0, select.POLLIN)]

    def go_on(self, fd: int) -> None:
        """Something can be read or written at `fd`."""
        if fd == 0:
            try:
                self._held = memoryview(os.read(0, BLOCK))
            except OSError:
                self._held = memoryview(b"")
        elif fd == self.master:
            self._show()
        if self._held:
            try:
                self._held = self._held[os.write(self.master, self._held) :]
            except BlockingIOError:
                pass
            except OSError:
                self._held = memoryview(b"")

    def _show(self) -> bool:
        try:
            data = os.read(self.master, BLOCK)
        except BlockingIOError:
            return False
        except OSError:  # nobody has it open any more
            data = b""
        if not data:
            self._open = False
            return False
        Sink(1).write(data)
        return True

    def finish(self) -> None:
        """Shows what is left, and gives our terminal back as it was."""
        while self._open and self._show():
            pass
        self._termios.tcsetattr(0, self._termios.TCSADRAIN, self._ours)
