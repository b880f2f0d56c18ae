"""The queue and the machine as they are at each look; threads take turns. Never writes."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gflowctl.context import Context
from gflowctl.view.views import View
from gflowd.storage.record_log import Fold
from gflowd.storage.store import Follower

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowd.storage.observed_reader import Observed

Stamp = tuple[tuple[int, int, int] | None, ...]


class Source:
    """One state directory, read again as far as it changed. Mutable."""

    def __init__(self, context: Context) -> None:
        self.first = context
        self.host = socket.gethostname()
        self._lock = threading.Lock()
        self._follower: Follower | None = None

    @contextmanager
    def look(self) -> Iterator[View]:
        """All jobs as they are now; only one thread looks at a time, since what is read is kept. Raises `GflowError`
        where the state directory cannot be read, or is gone: then it is not known that there are no jobs.
        """
        with self._lock:
            context = self.context()
            if self._follower is None and not context.state.has_snapshot():
                yield View(context, Fold())
                return
            if self._follower is None:
                self._follower = Follower(context.store)
            self._follower.catch_up()
            yield View(context, self._follower.fold)

    def context(self) -> Context:
        """A context that has read nothing yet: settings and what the daemon saw may have changed."""
        first = self.first
        return Context(
            first.environ, first.config_given, first.state_given, first.timezone_given, daemon=first.daemon_given
        )

    def observed(self) -> Observed:
        """What the daemon last saw."""
        return self.context().observed

    def stamp(self) -> Stamp:
        """Differs whenever jobs or the machine may have."""
        state = self.first.state
        return tuple(_stamp(path) for path in (state.snapshot, state.observed))


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
