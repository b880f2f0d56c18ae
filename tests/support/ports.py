"""A port of this machine that is ours while others are to listen on it, or not, as a test says."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def held_address() -> Iterator[tuple[str, int]]:
    """Nobody gets its port who asks for any; who asks for this one with SO_REUSEADDR, as servers do, may listen."""
    with socket.socket() as holding:
        holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holding.bind(("127.0.0.1", 0))
        yield holding.getsockname()
