"""Where metrics are asked for: an HTTP server for `GET /metrics` on a loopback address or a Unix socket.

Never waits for a client: whoever is slow is served bit by bit, and dropped after some seconds. Only the few words of
HTTP that a scrape takes; no other resource, no connection that stays open.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import stat
from typing import TYPE_CHECKING

from gflowd.core.errors import SystemFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    # from the header Accept to the status, the type of the content and that itself
    Respond = Callable[[str], tuple[int, str, bytes]]

PATH = "/metrics"
LONGEST_REQUEST = 16384  # bytes
PATIENCE = 5.0  # seconds for one client
MOST = 32  # clients at a time
RETRY = 0.05  # seconds until a client that is slow to read gets more
PLAIN = "text/plain; charset=utf-8"
REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


class _Client:
    """One connection."""

    def __init__(self, connection: socket.socket, mono: float) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.until = mono + PATIENCE
        self.request = b""
        self.answer: memoryview | None = None

    def read(self) -> bool:
        """Takes what has come; returns whether the client is still there."""
        try:
            part = self.connection.recv(LONGEST_REQUEST)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.request += part
        return bool(part)

    def write(self) -> bool:
        """Sends what the client takes; returns whether there is more."""
        try:
            while self.answer:
                self.answer = self.answer[self.connection.send(self.answer) :]
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False


class ScrapeSocket:
    """Listens as long as it is open. `descriptors` are readable when `serve` has something to do."""

    def __init__(self, address: str) -> None:
        """`address`: `127.0.0.1:9421`, `[::1]:9421`, or the absolute path of a Unix socket. Raises `SystemFailed`."""
        self._path = address if address.startswith("/") else None
        self._clients: list[_Client] = []
        try:
            self._listener = _unix(address) if self._path is not None else _tcp(address)
        except OSError as error:
            raise SystemFailed(f"{address}: {error.strerror or error}") from error

    @property
    def descriptors(self) -> tuple[int, ...]:
        waiting = (client.connection.fileno() for client in self._clients if client.answer is None)
        return (self._listener.fileno(), *waiting)

    def serve(self, respond: Respond, mono: float) -> float | None:
        """Answers whoever has asked; when to call it again though nothing is readable (monotonic)."""
        while len(self._clients) < MOST and (found := self._accept()) is not None:
            self._clients.append(_Client(found, mono))
        self._clients = [client for client in self._clients if self._stays(client, respond, mono)]
        if any(client.answer is not None for client in self._clients):
            return mono + RETRY
        return min((client.until for client in self._clients), default=None)

    def close(self) -> None:
        """Stops listening."""
        for client in self._clients:
            client.connection.close()
        self._clients = []
        self._listener.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def _accept(self) -> socket.socket | None:
        try:
            return self._listener.accept()[0]
        except OSError:
            return None

    def _stays(self, client: _Client, respond: Respond, mono: float) -> bool:
        is_there = client.answer is not None or client.read()
        if client.answer is None and (b"\r\n\r\n" in client.request or len(client.request) >= LONGEST_REQUEST):
            client.answer = memoryview(answer(client.request, respond, local=self._path is not None))
        if client.answer is not None:
            is_there = client.write()
        if is_there and mono < client.until:
            return True
        with contextlib.suppress(OSError):
            client.connection.shutdown(socket.SHUT_WR)
        client.connection.close()
        return False


def answer(request: bytes, respond: Respond, *, local: bool = False) -> bytes:
    """The response to a whole request. `local`: it came by a Unix socket, as nothing from a browser does."""
    head, *lines = request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    words = head.split(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return _response(400, PLAIN, b"not HTTP\n")
    if not local and not _is_ours(headers.get("host", "")):  # a page that a browser here has may not read along
        return _response(403, PLAIN, b"the header Host must name an IP address or localhost\n")
    if words[0] not in ("GET", "HEAD"):
        return _response(405, PLAIN, b"GET is all there is\n")
    if words[1].partition("?")[0] != PATH:
        return _response(404, PLAIN, f"metrics are at {PATH}\n".encode())
    return _response(*respond(headers.get("accept", "")), head=words[0] == "HEAD")


def _response(status: int, kind: str, content: bytes, *, head: bool = False) -> bytes:
    lines = (
        f"HTTP/1.1 {status} {REASONS[status]}", f"Content-Type: {kind}", f"Content-Length: {len(content)}",
        "Connection: close", "Cache-Control: no-store", "X-Content-Type-Options: nosniff", "", "",
    )  # fmt: skip
    return "\r\n".join(lines).encode() + (b"" if head else content)


def _is_ours(host: str) -> bool:
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if not name or name == "localhost":
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _tcp(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return _listening(socket.socket(family, socket.SOCK_STREAM), (host, int(port)))


def _unix(path: str) -> socket.socket:
    """A socket that a killed daemon left is replaced, nothing else."""
    found = None
    with contextlib.suppress(FileNotFoundError):
        found = os.lstat(path)
    if found is not None and stat.S_ISSOCK(found.st_mode) and found.st_uid == os.geteuid() and not _is_answered(path):
        os.unlink(path)
    return _listening(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), path)


def _is_answered(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == 0


def _listening(made: socket.socket, address: tuple[str, int] | str) -> socket.socket:
    try:
        if made.family != socket.AF_UNIX:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(MOST)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made
