"""Times that go on while one looks at them: what a command may say of them, however long it took."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gflowd.core.syntax import durations

if TYPE_CHECKING:
    from collections.abc import Callable


def is_told(shown: str, *, since: float, asked: float, form: Callable[[float], str] = durations.clock) -> bool:
    """Whether `shown` is how long it has been since `since`, at an instant between `asked` and now."""
    first, last = int(asked - since), int(time.time() - since)
    return any(form(seconds) == shown for seconds in range(first, last + 1))


def is_left(shown: str, *, until: float, asked: float) -> bool:
    """Whether `shown` is how long it is until `until`, at an instant between `asked` and now."""
    first, last = int(until - time.time()), int(until - asked)
    return any(durations.clock(seconds) == shown for seconds in range(first, last + 1))
