"""Times that go on while one looks at them: what a command may say of them, however long it took."""

from __future__ import annotations

import time

from gflowd.core.syntax import durations


def is_told(shown: str, *, since: float, asked: float) -> bool:
    """Whether `shown` is how long it has been since `since`, at an instant between `asked` and now."""
    first, last = int(asked - since), int(time.time() - since)
    return any(durations.clock(seconds) == shown for seconds in range(first, last + 1))
