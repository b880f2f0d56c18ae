"""Scrapes by HTTP, from addresses and sockets, by patient and by rude clients."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator

import pytest
from support.ports import held_address
from support.waiting import eventually

from gflowd.core.errors import SystemFailed
from gflowd.effects.metrics import scrape_socket
from gflowd.effects.metrics.scrape_socket import ScrapeSocket, answer

GET = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9421\r\nAccept: %b\r\n\r\n"


def respond(accept: str) -> tuple[int, str, bytes]:
    return (503, "text/plain", b"no") if accept == "bad" else (200, "text/x", f"for {accept}".encode())


@pytest.mark.parametrize(
    ("request_line", "more", "status", "content"),
    [
        ("GET /metrics HTTP/1.1", "Host: localhost\r\nACCEPT: me", 200, "for me"),
        ("GET /metrics?x=1 HTTP/1.0", "", 200, "for "),
        ("GET /metrics HTTP/1.1", "Host: [::1]:9421", 200, "for "),
        ("GET /metrics HTTP/1.1", "Host: [::1]", 200, "for "),
        ("GET /metrics HTTP/1.1", "Accept: bad", 503, "no"),
        ("HEAD /metrics HTTP/1.1", "Host: 127.0.0.1", 200, ""),
        ("GET / HTTP/1.1", "Host: 127.0.0.1", 404, "metrics are at /metrics\n"),
        ("POST /metrics HTTP/1.1", "Host: 127.0.0.1", 405, "GET is all there is\n"),
        ("GET /metrics HTTP/1.1", "Host: evil.example:9421", 403, "must name an IP address or localhost\n"),
        ("GET /metrics", "", 400, "not HTTP\n"),
        ("\xff\x00", "", 400, "not HTTP\n"),
    ],
)
def test_what_is_asked_is_answered(request_line: str, more: str, status: int, content: str) -> None:
    head, _, body = (
        answer(f"{request_line}\r\n{more}\r\n\r\n".encode("latin-1"), respond).decode().partition("\r\n\r\n")
    )
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert body.endswith(content)
    assert f"Content-Length: {len(body) if body else 4}" in head
    assert b" 200 " in answer(b"GET /metrics HTTP/1.1\r\nHost: gflow\r\n\r\n", respond, local=True)


@pytest.fixture
def path(runtime_dir: str) -> str:
    return f"{runtime_dir}/metrics.sock"


@pytest.fixture
def listening(path: str) -> Iterator[ScrapeSocket]:
    made = ScrapeSocket(path)
    yield made
    made.close()
    assert not os.path.lexists(path)


def client(path: str, *parts: bytes) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.connect(path)
    for part in parts:
        made.send(part)
    return made


def received(made: socket.socket) -> bytes:
    found = b""
    made.settimeout(60)
    while part := made.recv(1 << 16):
        found += part
    made.close()
    return found


def test_clients_are_served_as_they_come_and_the_rude_ones_dropped(listening: ScrapeSocket, path: str) -> None:
    slow, good, gone = client(path, b"GET /metrics HT"), client(path, GET % b"me"), client(path)
    silent = client(path)
    gone.close()
    assert listening.serve(respond, 100.0) == 100.0 + scrape_socket.PATIENCE
    assert received(good).endswith(b"for me")
    assert len(listening.descriptors) == 3, "the listener, and two who have not asked yet"
    slow.send(b"TP/1.1\r\n\r\n")
    listening.serve(respond, 101.0)
    assert received(slow).endswith(b"for ")
    assert listening.serve(respond, 100.0 + scrape_socket.PATIENCE) is None
    assert received(silent) == b""
    long = client(path, b"x" * scrape_socket.LONGEST_REQUEST)
    listening.serve(respond, 200.0)
    assert received(long).startswith(b"HTTP/1.1 400 ")


def test_one_who_reads_slowly_gets_all_of_it_and_keeps_nobody(listening: ScrapeSocket, path: str) -> None:
    content = bytes(4 << 20)
    slow, other = client(path, GET % b"1"), client(path, GET % b"2")

    def big(accept: str) -> tuple[int, str, bytes]:
        return (200, "x", content if accept == "1" else b"small")

    assert listening.serve(big, 1.0) == 1.0 + scrape_socket.RETRY
    assert received(other).endswith(b"small")
    slow.setblocking(False)
    found, mono = b"", 1.0
    while mono < 5.9 and not found.endswith(content):
        mono += 0.001
        found += slow.recv(1 << 20)
        listening.serve(big, mono)
    assert found.endswith(content)
    slow.close()
    left = client(path, GET % b"1")
    listening.serve(big, 10.0)
    left.close()
    assert listening.serve(big, 10.1) is None


def test_an_address_in_use_is_refused_and_a_socket_that_was_left_replaced(path: str) -> None:
    with held_address() as taken:
        address = f"{taken[0]}:{taken[1]}"
        with (
            socket.create_server(taken),
            pytest.raises(SystemFailed, match=f"{address}: Address already in use"),
        ):
            ScrapeSocket(address)
        made = ScrapeSocket(address)
    with socket.create_connection(taken) as asks:
        asks.send(GET % b"me")
        eventually(lambda: (made.serve(respond, 1.0), select.select([asks], [], [], 0)[0])[1])
        assert received(asks).endswith(b"for me")
    made.close()
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(path)
    left.listen()
    with pytest.raises(SystemFailed, match="Address already in use"):
        ScrapeSocket(path)
    left.close()
    ScrapeSocket(path).close()
    with open(path, "w") as file:
        file.write("mine")
    with pytest.raises(SystemFailed, match="Address already in use"):
        ScrapeSocket(path)
