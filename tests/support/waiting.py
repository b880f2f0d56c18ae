"""How tests wait: for what is to come, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 60.0  # seconds that anything may take: the machine may be busy, and no test is about speed
PAUSES = 0.005, 0.3  # seconds: the shortest and the longest
COST = 2.0  # as long as this many looks take nobody looks: a look may be a whole command, and the machine busy
UNCHANGED = 1.0  # seconds until what has not changed is looked at again
PART = 0.1  # of the time waited so far: what takes long need not be seen at once


def eventually(look: Callable[[], T], within: float = PATIENCE, news: Callable[[], object] | None = None) -> T:
    """What `look` returns once that is true; fails the test if it never is. `news` differs when there may be something
    new to see: a look that is a whole command costs a thousand times as much.
    """
    begun = time.monotonic()
    while True:
        seen, looked = news and news(), time.monotonic()
        if found := look():
            return found
        took, waited = time.monotonic() - looked, time.monotonic() - begun
        assert waited < within, f"not so within {within:g} s; the last look: {found!r}"
        if news is None:
            time.sleep(min(max(PAUSES[0], PART * waited, COST * took), PAUSES[1]))
        else:
            _await_change(news, seen)


def _await_change(news: Callable[[], object], seen: object) -> None:
    """Until it differs, or so long that a look is due all the same."""
    begun = time.monotonic()
    while news() == seen and time.monotonic() < begun + UNCHANGED:
        time.sleep(PAUSES[0])
