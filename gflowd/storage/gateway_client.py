"""Asks the gateway of a daemon for many users: one request and its answer, over its socket."""

from __future__ import annotations

import os
import socket
import struct
import time

from gflowd import paths
from gflowd.core.errors import SystemFailed, TryAgain
from gflowd.core.gateway import asking, protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflowd.core.gateway.asking import Seen
    from gflowd.core.gateway.protocol import Message

NOT_THERE = "gflowd's gateway is not there ({})"
BY_SYSTEMD, BY_GFLOWD = "systemctl start gflow-gateway.socket", "root starts it with gflowd run --system"
BUSY = "gflowd's gateway has too much to do; try again"
ENTRY = 5  # seconds to wait to be let in
COMES_BACK = 2.0  # seconds to wait where one has listened: gflowd may be starting it again
ANSWER = 30.0  # seconds that an answer may take
FIRST_BLOCK, BLOCK = 1 << 12, 1 << 18  # bytes; most answers are short
FIRST_REST, LONGEST_REST = 0.02, 0.5  # seconds between two tries


def ask(gate: str, request: bytes, patience: float = 10.0) -> Message:
    """The answer to a message of `asking`. Sends it again for `patience` seconds while the gateway is busy, or ends
    before it has answered: whoever asks for a change says in it that it is the same one. Raises the error that the
    answer tells of, `TryAgain` where nobody listens, nor does in a moment, `SystemFailed` for what is no answer.
    """
    begun, rest, was_sent = time.monotonic(), FIRST_REST, False
    deadline, back = begun + patience, begun + min(patience, COMES_BACK)
    while True:
        try:
            answer = _answer(gate, request)
            asking.check(answer[0])
        except TryAgain:
            if time.monotonic() + rest > deadline:
                raise
        except (FileNotFoundError, ConnectionRefusedError) as error:
            until = deadline if was_sent else back if isinstance(error, ConnectionRefusedError) else begun
            if time.monotonic() + rest > until:
                start = BY_SYSTEMD if os.path.exists(paths.SYSTEMD) else BY_GFLOWD
                raise TryAgain(NOT_THERE.format(start)) from None
        except ConnectionError:
            was_sent = True
            if time.monotonic() + rest > deadline:
                raise TryAgain("gflowd's gateway ended before it had answered; try again") from None
        except BlockingIOError:
            raise TryAgain(f"gflowd's gateway did not answer within {ANSWER:g} s") from None
        except protocol.Malformed as error:
            raise SystemFailed(f"{gate}: what answers there is not gflowd's gateway: {error}") from None
        except OSError as error:
            raise SystemFailed(f"{gate}: {error.strerror or error}") from error
        else:
            return answer
        time.sleep(rest)
        rest = min(2 * rest, LONGEST_REST)


def view(gate: str) -> tuple[Seen, bytes]:
    """The snapshot as far as we may see it, as its file would be, and how far that goes. Raises as `ask`."""
    answer, tail = ask(gate, asking.view())
    end, line, checksum = answer["seen"]
    return (end, line, checksum), tail


def _answer(gate: str, request: bytes) -> Message:
    with socket.socket(socket.AF_UNIX) as connection:
        # Where very many wait to be let in, connect(2) waits in line only on a socket that blocks. That takes fewer
        # calls, too, than a timeout of Python's.
        _limit(connection, socket.SO_SNDTIMEO, ENTRY)
        try:
            connection.connect(gate)
        except BlockingIOError:
            raise TryAgain(BUSY) from None
        _limit(connection, socket.SO_SNDTIMEO, ANSWER)
        _limit(connection, socket.SO_RCVTIMEO, ANSWER)
        try:
            connection.sendall(request)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may have answered before it had read all: that it is busy, or that this is too much
        reader = protocol.Reader()
        size = FIRST_BLOCK
        while data := connection.recv(size):
            if (found := reader.feed(data)) is not None:
                return found
            size = min(BLOCK, max(1, reader.wanted))
    raise ConnectionResetError


def _limit(connection: socket.socket, which: int, seconds: float) -> None:
    """How long a call may block; then it raises `BlockingIOError`."""
    whole, part = divmod(seconds, 1)
    connection.setsockopt(socket.SOL_SOCKET, which, struct.pack("ll", int(whole), int(part * 1_000_000)))
