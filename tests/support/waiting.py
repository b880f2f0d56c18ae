"""How tests wait: for what is to come, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 60.0  # seconds that anything may take: the machine may be busy, and no test is about speed
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.02  # seconds


def eventually(look: Callable[[], T], within: float = PATIENCE) -> T:
    """What `look` returns once that is true; fails the test if it never is."""
    deadline = time.monotonic() + within
    pause = FIRST_PAUSE
    while not (found := look()):
        assert time.monotonic() < deadline, f"not so within {within:g} s; the last look: {found!r}"
        time.sleep(pause)
        pause = min(LONGEST_PAUSE, 2 * pause)
    return found
