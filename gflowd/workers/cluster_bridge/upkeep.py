"""Keeps the clusters' directories in order: after a restore their attempts are linked again, and now and then what no
job needs any more is removed. Knows nothing of how jobs fare.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from gflowd.effects.attempt.removal import Removal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gflowd.workers.cluster_bridge.mirror import Mirror

SWEEP_EVERY = 3600.0  # seconds
RETRY = 5.0  # seconds after a directory that could not be reached
PAUSE = 0.5  # seconds between looks whether a removal is over


class Upkeep:
    """`restored`: the file that tells of a restore. Mutable."""

    def __init__(self, mirrors: Mapping[str, Mirror], restored: str) -> None:
        self._mirrors = mirrors
        self._restored = restored
        self._unlinked = dict.fromkeys(mirrors, 0) if os.path.lexists(restored) else {}  # by cluster: the last id done
        self._due = dict.fromkeys(mirrors, float("-inf"))
        self._removal: Removal | None = None

    def step(self, mono: float) -> float:
        """Goes on; when to be called again, on the monotonic clock."""
        if self._unlinked:
            return self._link_again(mono)
        if self._removal is not None:
            if not self._removal.is_over():
                return mono + PAUSE
            self._removal = None
        name = min(self._due, key=self._due.__getitem__)
        if self._due[name] <= mono:
            self._sweep(name, mono)
        return min(self._due.values())

    def _link_again(self, mono: float) -> float:
        """Before that, what is missing here is not known to be needed no more."""
        name, after = next(iter(self._unlinked.items()))
        try:
            done = self._mirrors[name].link_again(after)
        except OSError:
            self._unlinked[name] = self._unlinked.pop(name)  # the others first
            return mono + RETRY
        if done is not None:
            self._unlinked[name] = done
            return mono
        del self._unlinked[name]
        if not self._unlinked:
            with contextlib.suppress(OSError):
                os.unlink(self._restored)
        return mono

    def _sweep(self, name: str, mono: float) -> None:
        self._due[name] = mono + SWEEP_EVERY
        try:
            directories, is_more = self._mirrors[name].sweep()
            self._removal = Removal(directories) if directories else None
        except OSError:
            return
        if is_more:
            self._due[name] = mono
