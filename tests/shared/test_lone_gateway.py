"""The gateway as systemd runs it: at a socket that it is given, until nobody asks any more."""

from __future__ import annotations

import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.lone_gateway import LoneGateway, submission

from gflowd.storage import gateway_client
from gflowd.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSED = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture
def lone() -> Iterator[LoneGateway]:
    with tempfile.TemporaryDirectory(prefix="gfg-") as root:
        yield LoneGateway(Path(root))


def test_it_serves_the_socket_it_is_given_and_ends_when_nobody_asks(lone: LoneGateway) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(lone.gate)
        listener.listen()
        for number in (1, 2):  # those who connect while it is down wait in the queue of the socket
            lone.start((sys.executable, "-c", PASSED, str(listener.fileno())), pass_fds=[listener.fileno()])
            answer, _ = gateway_client.ask(lone.gate, submission(f"{number:032x}", 2))
            assert answer == {"ok": True, "first": 2 * number - 1}
            assert lone.process is not None
            assert lone.process.wait(60) == 0
    assert sorted(Store(lone.state).read().of("spec")) == [1, 2, 3, 4]
