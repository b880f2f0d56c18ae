"""Keeps the logs of live jobs within `[logs] max_size`: checks their sizes, more often the sooner they may be
over it. A part of the timeout enforcer, for which the size is another limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowd import log
from gflowd.core.execution import log_trimming
from gflowd.effects import joblog

if TYPE_CHECKING:
    from gflowd.paths import State

Key = tuple[int, int]


@dataclass(slots=True)
class _Seen:
    """A log at the last check; times are monotonic."""

    size: int
    at: float
    due: float
    troubled: bool = False


class LogLimiter:
    """`limit` is in bytes. Files that `--output` and `--error` named are the user's and not checked."""

    def __init__(self, state: State, limit: int) -> None:
        self._state = state
        self._limit = limit
        self._log = log.get("timeout_enforcer")
        self._seen: dict[Key, _Seen] = {}

    def look(self, keys: set[Key], mono: float) -> float | None:
        """Cuts logs over the limit, including jobs just gone; returns when to check again, None without jobs."""
        for key in self._seen.keys() - keys:
            self._trim(key, self._seen.pop(key))
        for key in keys:
            seen = self._seen.setdefault(key, _Seen(0, mono, mono))
            if mono >= seen.due:
                self._look(key, seen, mono)
        return min((seen.due for seen in self._seen.values()), default=None)

    def _look(self, key: Key, seen: _Seen, mono: float) -> None:
        size = joblog.size(self._state.attempt(*key)) or 0
        rate = (size - seen.size) / (mono - seen.at) if mono > seen.at else 0.0
        if size > self._limit:
            size -= self._trim(key, seen)
        seen.size, seen.at = size, mono
        seen.due = mono + log_trimming.next_look(size, self._limit, rate)

    def _trim(self, key: Key, seen: _Seen) -> int:
        try:
            cut = joblog.trim(self._state.attempt(*key), self._limit)
        except FileNotFoundError:  # it wrote nothing, or never began
            return 0
        except OSError as error:
            if not seen.troubled:
                self._log.warning("cannot cut a log", job=key[0], attempt=key[1], why=error.strerror)
            seen.troubled = True
            return 0
        if cut:
            self._log.debug("cut a log", job=key[0], attempt=key[1], bytes=cut)
        return cut
