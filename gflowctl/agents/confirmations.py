"""What was previewed and may be carried out, each by a token. A token is good for its kind, for a while, and once: to
give it again is answered as before, so that a lost answer does no harm.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from gflowd.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

LIFETIME = 600.0  # seconds
MOST = 100  # previews that are kept


class _Preview:
    __slots__ = ("act", "answer", "ends_at", "kind")

    def __init__(self, kind: str, act: Callable[[], Any], ends_at: float) -> None:
        self.kind = kind
        self.act = act
        self.ends_at = ends_at
        self.answer: Any = None


class Previews:
    """Those of one server. Mutable, for several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, _Preview] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, kind: str, act: Callable[[], Any]) -> str:
        """A token by which `act` will be carried out."""
        token = os.urandom(12).hex()
        with self._lock:
            self._kept[token] = _Preview(kind, act, self._clock() + LIFETIME)
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
        return token

    def carry_out(self, kind: str, token: str) -> Any:
        """What the preview with this token promised. Raises `Refused` for a token that is not good, and as the act,
        which may then be tried again.
        """
        with self._lock:  # a token that comes twice at once is carried out once
            found = self._kept.get(token)
            if found is None or found.kind != kind or (found.answer is None and self._clock() > found.ends_at):
                raise Refused(f"this token is not one of preview_{kind}, or has expired: call preview_{kind} again")
            if found.answer is None:
                found.answer = found.act()
            return found.answer
