"""How tests wait: for what is to come, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 60.0  # seconds that anything may take: the machine may be busy, and no test is about speed
PAUSES = 0.005, 0.3  # seconds: the shortest and the longest
PART = 0.1  # of the time waited so far: a look may be a whole command, and what takes long need not be seen at once


def eventually(look: Callable[[], T], within: float = PATIENCE) -> T:
    """What `look` returns once that is true; fails the test if it never is."""
    begun = time.monotonic()
    while not (found := look()):
        waited = time.monotonic() - begun
        assert waited < within, f"not so within {within:g} s; the last look: {found!r}"
        time.sleep(min(max(PAUSES[0], PART * waited), PAUSES[1]))
    return found
