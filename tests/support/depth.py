"""How often the tests repeat themselves. `make test` tries each promise in a few cases; `make test-full`, which the
nightly run has, tries all seeds, sizes, crash points and made-up cases (`GFLOW_TEST_DEPTH=full`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")

IS_FULL = os.environ.get("GFLOW_TEST_DEPTH") == "full"


def number(full: int, few: int) -> int:
    """How many there are of something: seeds, jobs of a chain."""
    return full if IS_FULL else few


def examples(full: int = 100) -> int:
    """How many cases hypothesis makes up: a fifth of them."""
    return number(full, max(full // 5, 10))


def some(cases: Iterable[T], few: int) -> list[T]:
    """All of them, or so many that lie evenly among them, the first and the last included."""
    found = list(cases)
    if IS_FULL or few >= len(found):
        return found
    return [found[place * (len(found) - 1) // (few - 1)] for place in range(few)] if few > 1 else found[:1]
