"""What happened, as programs read it from the journal."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from gflowctl.api.values import Event
from gflowd.core.errors import BadUsage
from gflowd.core.events import kinds as known
from gflowd.storage.journal.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Self

    from gflowd.paths import State

SHORTEST_PAUSE, LONGEST_PAUSE = 0.01, 0.2  # seconds


class Events:
    """Events, the oldest first: an iterator, which with `follow` waits for the next one. `last`: the id of the last
    that was handed out, to go on from; `lost`: whether some between were no longer kept. For one thread at a time.
    """

    def __init__(self, state: State, after: str | None, kinds: Collection[str], *, follow: bool) -> None:
        """Raises `BadUsage` for what is no id, `Refused` for an unknown kind."""
        if after is not None and not isinstance(after, str):
            raise BadUsage(f"after: {after!r} is not the id of an event (such as 17-204)")
        try:
            begin = None if after is None else known.decode_id(after)
        except ValueError as error:
            raise BadUsage(f"{error} (such as 17-204)") from None
        self.last = after
        self._kinds = known.chosen(kinds) if kinds else None
        self._follow = follow
        self._reader = Reader(state, begin)
        self._waiting: deque[Event] = deque()
        if follow and after is None:
            self._reader.skip()

    @property
    def lost(self) -> bool:
        """Whether events between two were no longer kept."""
        return self._reader.lost

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        pause = SHORTEST_PAUSE
        while not self._waiting:
            self._waiting += self._new()
            if not self._waiting:
                if not self._follow:
                    raise StopIteration
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        event = self._waiting.popleft()
        self.last = event.id
        return event

    def read(self) -> list[Event]:
        """What is there now, without waiting."""
        found = [*self._waiting, *self._new()]
        self._waiting.clear()
        self.last = found[-1].id if found else self.last
        return found

    def close(self) -> None:
        """Closes the file."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_reader"):
            self.close()

    def _new(self) -> list[Event]:
        found = map(known.shown, self._reader.read())
        chosen = (each for each in found if self._kinds is None or each["kind"] in self._kinds)
        own = ("id", "at", "kind", "job")
        return [
            Event(
                each["id"],
                each["at"],
                each["kind"],
                each.get("job"),
                {name: value for name, value in each.items() if name not in own},
            )
            for each in chosen
        ]
