"""Asks an ASGI application in this process, as a server would; nothing but asyncio is needed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Answer:
    """What came: headers by name in small letters, the last of each name."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Asking:
    """A browser of its own. `headers` go with every request."""

    def __init__(self, app: Any, **headers: str) -> None:
        self.app = app
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: str, **headers: str) -> Answer:
        return self.ask("POST", path, body=body.encode(), **headers)

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        until: Callable[[bytes], bool] | None = None,
        **headers: str,
    ) -> Answer:
        """The whole answer; of a stream what came `until` that holds, when the browser leaves."""
        return asyncio.run(asyncio.wait_for(self._ask(method, path, body, until, headers), 60))

    async def _ask(
        self, method: str, path: str, body: bytes, until: Callable[[bytes], bool] | None, headers: dict[str, str]
    ) -> Answer:
        whole = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        place, _, query = path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": method,
            "scheme": "http", "path": unquote(place), "raw_path": place.encode(), "query_string": query.encode(),
            "root_path": "", "client": ("127.0.0.1", 4242), "server": ("127.0.0.1", 8421), "state": {},
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in whole.items()],
        }  # fmt: skip
        sent: list[dict[str, Any]] = []
        leaves = asyncio.Event()
        asked = False

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": body, "more_body": False}
            await leaves.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)
            if until is not None and until(content()):
                leaves.set()

        def content() -> bytes:
            return b"".join(each.get("body", b"") for each in sent)

        await self.app(scope, receive, send)
        found = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], found, content())
