"""The requests that were answered of late, by their askers' own words for them, so that one that is sent again gets the
same answer and nothing is done twice. Kept as records beside what was done, and so written with it or not at all.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

from gflowd.core.job.records import ANSWERED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gflowd.core.gateway.asking import Record

Once = tuple[int, str]  # a user, and the user's word for a request
REMEMBERED = 900.0  # seconds: far longer than anybody asks again
MOST_OF_USER = 64  # more at a time are forgotten before that, the oldest first
AT_ONCE = 2  # are forgotten with each request that is answered, so that they become no more


class Answers:
    """Mutable: follows the records."""

    def __init__(self) -> None:
        self._kept: dict[Once, tuple[int, float]] = {}  # the first new job and when, the oldest first
        self._of_user: dict[int, deque[Once]] = {}

    def follow(self, found: Mapping[str, Any]) -> None:
        """These are the records."""
        self._kept.clear()
        self._of_user.clear()
        for key in sorted(found, key=lambda key: float(found[key]["at"])):
            self.note(key, found[key])

    def note(self, key: str, value: Any) -> None:
        """A record has come, or gone (None)."""
        uid, _, word = key.partition(".")
        once = int(uid), word
        if value is None:
            if self._kept.pop(once, None) is not None:
                self._of_user[once[0]].remove(once)
        elif once not in self._kept:
            self._kept[once] = value["first"], value["at"]
            self._of_user.setdefault(once[0], deque()).append(once)

    def first(self, once: Once) -> int | None:
        """The first job that the request made, 0 where it made none; None where it was not answered."""
        found = self._kept.get(once)
        return None if found is None else found[0]

    def records(self, once: Once, first: int, now: float) -> list[Record]:
        """What is to be written with what the request changes."""
        old = [each for each, (_, at) in islice(self._kept.items(), AT_ONCE) if at < now - REMEMBERED]
        of_user = self._of_user.get(once[0], ())
        old += [each for each in islice(of_user, max(0, len(of_user) + 1 - MOST_OF_USER)) if each not in old]
        gone: list[Record] = [(ANSWERED, _key(each), None) for each in old[:AT_ONCE]]
        return [(ANSWERED, _key(once), {"first": first, "at": now}), *gone]


def _key(once: Once) -> str:
    return f"{once[0]}.{once[1]}"
