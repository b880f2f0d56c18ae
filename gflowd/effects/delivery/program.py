"""Runs a program to which a message is handed. It has ended when it has, whatever it left running; what it says on
standard error is kept only in part; if it takes too long, it is ended with all that it started.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEPT = 16384  # bytes of what it says
PART = 65536


class Ran(NamedTuple):
    """`status` as subprocess has it; `said`: the end of its standard error."""

    status: int
    said: bytes


def run(
    command: Sequence[str], content: bytes, timeout: float, *, env: Mapping[str, str] | None = None,
    cwd: str | None = None,
) -> Ran:  # fmt: skip
    """Hands it `content` on standard input. Raises OSError if it cannot be started, TimeoutError if it does not end."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env, cwd=cwd,
        process_group=0,
    ) as program:  # fmt: skip
        try:
            said = _talk(program, content, time.monotonic() + timeout)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            raise
    return Ran(program.returncode, said)


def _talk(program: subprocess.Popen[bytes], content: bytes, deadline: float) -> bytes:
    assert program.stdin is not None
    assert program.stderr is not None
    given, told = program.stdin.fileno(), program.stderr.fileno()
    rest, said = memoryview(content), b""
    end = os.pidfd_open(program.pid)
    try:
        for fd in (given, told):
            os.set_blocking(fd, False)
        poll = select.poll()
        poll.register(end, select.POLLIN)
        poll.register(told, select.POLLIN)
        poll.register(given, select.POLLOUT)
        while True:
            left = deadline - time.monotonic()
            ready = dict(poll.poll(max(0.0, left) * 1000))
            if told in ready:
                part = _read(told)
                said = (said + part)[-KEPT:]
                if not part:
                    poll.unregister(told)
            if given in ready:
                rest = rest[_write(given, rest) :]
                if not rest:
                    poll.unregister(given)
                    program.stdin.close()
            if end in ready:
                return (said + _read(told))[-KEPT:]
            if left <= 0:
                raise TimeoutError
    finally:
        os.close(end)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, PART)
    except BlockingIOError:
        return b""


def _write(fd: int, data: memoryview) -> int:
    """How much of it has been taken; all of it, if nobody reads it."""
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return 0
    except BrokenPipeError:
        return len(data)
