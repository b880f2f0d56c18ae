"""Receivers of notifications: a web server and a mail server, each a process that writes down what it gets."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.server
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Ready = Callable[[int], object]  # is told the port


class Receiver:
    """`port` of 127.0.0.1; `answers` is what it answers from now on; `got()` what it has got."""

    def __init__(self, place: Path, port: int) -> None:
        self.port = port
        self._place = place
        self.answers(200)

    def answers(self, status: int, **headers: str) -> None:
        """-1: nothing at all, until the other side gives up."""
        fresh = self._place / "answer.new"
        fresh.write_text(json.dumps([status, headers]))
        fresh.rename(self._place / "answer")

    def got(self) -> list[dict[str, Any]]:
        """Each request or mail, the first first; one that is only half written down is not there yet."""
        path = self._place / "got"
        lines = path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]


def _note(place: Path, got: dict[str, Any]) -> tuple[int, dict[str, str]]:
    """Writes down what came; returns how to answer, as was to be answered before anybody could see it."""
    status, headers = json.loads((place / "answer").read_text())
    with (place / "got").open("ab", buffering=0) as file:  # at once: there may be several at a time
        file.write(json.dumps(got).encode() + b"\n")
    return status, headers


@contextlib.contextmanager
def _process(place: Path, serve: Callable[[Path, Ready], None]) -> Iterator[Receiver]:
    place.mkdir()
    reading, writing = os.pipe()
    between = os.fork()
    if not between:
        try:
            if not os.fork():  # nobody's child: tests wait for theirs to end
                serve(place, lambda port: os.write(writing, f"{os.getpid()} {port}".encode()))
        finally:
            os._exit(0)
    os.waitpid(between, 0)
    os.close(writing)
    pid, port = map(int, os.read(reading, 100).split())
    os.close(reading)
    try:
        yield Receiver(place, port)
    finally:
        os.kill(pid, signal.SIGKILL)


def web(place: Path) -> contextlib.AbstractContextManager[Receiver]:
    """A web server."""
    return _process(place, _serve_web)


def mail(place: Path) -> contextlib.AbstractContextManager[Receiver]:
    """A mail server, without encryption."""
    return _process(place, _serve_mail)


def _serve_web(place: Path, ready: Ready) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got = {"path": self.path, "headers": dict(self.headers), "body": base64.b64encode(body).decode()}
            status, headers = _note(place, got)
            while status < 0:
                time.sleep(1)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": "0"}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ready(server.server_port)
    server.serve_forever()


def _serve_mail(place: Path, ready: Ready) -> None:
    from aiosmtpd.smtp import SMTP

    class Handler:
        async def handle_DATA(  # noqa: N802 -- aiosmtpd's name
            self, _server: Any, _session: Any, envelope: Any
        ) -> str:
            mail = {"from": envelope.mail_from, "to": envelope.rcpt_tos, "content": envelope.content.decode()}
            status, _ = _note(place, mail)
            return "250 taken" if status == 200 else f"{status} not now"

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: SMTP(Handler(), hostname="localhost"), "127.0.0.1", 0)
        ready(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())
