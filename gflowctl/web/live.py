"""News of a page as server-sent events: the fragments that changed, and what a log gained.

An event `fragment` has `{"name", "html"}`, an event `as-of` a time, and an event `log` what `log_pieces.Growth` tells,
with the place as its id.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gflowctl.web.pages.job import Following
    from gflowctl.web.reader import Source

    # each call: the time, and the fragments by name, as HTML
    Fragments = Callable[[], tuple[str, dict[str, str]]]

LOOK = 0.25  # seconds between two looks for news: a few stat(2)
SOONEST = 1.0  # seconds between two pictures
LATEST = 5.0  # seconds after which times are told anew
MOST = 40  # streams at a time


class Streams:
    """The streams that are open. Mutable; `close` ends them all."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._count = 0
        self.is_closed = False

    @property
    def are_many(self) -> bool:
        """Whether there may be no more."""
        return self._count >= MOST

    def close(self) -> None:
        self.is_closed = True

    async def events(self, fragments: Fragments, log: Following | None) -> AsyncIterator[bytes]:
        """The events of one page, until it is left or all streams are closed."""
        if self.are_many:  # others came between the question and this
            return
        self._count += 1
        try:
            told: dict[str, str] = {}
            yield b"retry: 2000\n\n"
            while not self.is_closed:
                stamp, began = self._source.stamp(), time.monotonic()
                now, found = await run_in_threadpool(fragments)
                for name, html in found.items():
                    if told.get(name) != html:
                        told[name] = html
                        yield event("fragment", {"name": name, "html": html})
                yield event("as-of", {"time": now})
                async for each in self._until_news(stamp, began, log):
                    yield each
        finally:
            self._count -= 1

    async def _until_news(self, stamp: object, began: float, log: Following | None) -> AsyncIterator[bytes]:
        """Waits, and meanwhile tells what the log gains."""
        while not self.is_closed and (waited := time.monotonic() - began) < LATEST:
            if log is not None and (news := await run_in_threadpool(log.news)) is not None:
                yield event("log", news, news["at"])
            if waited >= SOONEST and self._source.stamp() != stamp:
                return
            await asyncio.sleep(LOOK)


def event(name: str, data: object, key: object = None) -> bytes:
    """One event; JSON has no line ends, which would end it. A browser that comes back tells the last `key`."""
    told = "" if key is None else f"id: {key}\n"
    return f"{told}event: {name}\ndata: {json.dumps(data)}\n\n".encode()
