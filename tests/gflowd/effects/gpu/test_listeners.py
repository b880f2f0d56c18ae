from __future__ import annotations

import os
import socket
from uuid import uuid4

import pytest

from gflowd.effects.gpu import listeners


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
def test_who_listens_is_told_of_stream_sockets(kind: socket.SocketKind) -> None:
    name = f"\0gflow-test-{uuid4()}"
    with socket.socket(socket.AF_UNIX, kind) as bound:
        bound.bind(name)
        assert listeners.owner(name) is None
        bound.listen(0)
        assert listeners.owner(name) == (os.geteuid() if kind == socket.SOCK_STREAM else None)
    assert listeners.owner(name) is None


def test_it_is_found_among_many() -> None:
    names = [f"\0gflow-test-{uuid4()}" for _ in range(300)]
    bound = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in names]
    for each, name in zip(bound, names, strict=True):
        each.bind(name)
        each.listen(0)
    assert [listeners.owner(name) for name in names[:: len(names) // 10]] == [os.geteuid()] * 10
    for each in bound:
        each.close()


def test_where_the_kernel_does_not_tell_nobody_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> socket.socket:
        raise PermissionError

    monkeypatch.setattr(listeners.socket, "socket", refused)
    assert listeners.owner("\0any") is None
