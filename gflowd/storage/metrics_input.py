"""All that metrics are made of, read from the state directory without a lock: the snapshot, which is followed, the
history, and what the daemon last saw.

Remembers what it has read, and reads again only what has changed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from gflowd.core.accounting.ended_totals import Tally
from gflowd.core.errors import GflowError
from gflowd.core.metrics.metric_values import Daemon, Seen, Values
from gflowd.core.metrics.snapshot_totals import SnapshotTally
from gflowd.core.metrics.unended_jobs import Standing, Told, standing
from gflowd.storage import history_access, observed_reader
from gflowd.storage.store import Follower, Store

if TYPE_CHECKING:
    from gflowd.paths import State
    from gflowd.storage.observed_reader import Observed

Stamp = tuple[int, int, int] | None  # what tells one content of a file from another


class Totals(NamedTuple):
    """Of the history, and which of the specs with ended jobs in the snapshot are in it."""

    tally: Tally
    there: set[int]


class Readings:
    """Mutable. `trouble`: why the last `values` were not all."""

    def __init__(self, state: State) -> None:
        self._state, self._observed = state, state.observed
        self._follower = Follower(Store(state))
        self._snapshot_tally = SnapshotTally()
        self._standing = Standing()
        self._basis: object = None  # what that was made from, beside the snapshot, and when
        self._at = 0.0
        self._seen: tuple[Stamp, Observed] = (None, observed_reader.Observed())
        self._past: tuple[object, Totals | None] = (None, None)
        self.trouble: str | None = None

    def stamps(self) -> tuple[Stamp, ...]:
        """They change with whatever `values` are made of, except for the daemon's processes."""
        state = self._state
        return tuple(map(_stamp, (state.snapshot, state.observed, state.history, f"{state.history}-wal")))

    def values(self, daemon: Daemon | None, pid: int | None, now: float) -> Values:
        """All that is known. `pid`: of the running daemon. Raises `GflowError` if the snapshot cannot be read."""
        self.trouble = None
        seen = self._look(pid)
        keys = self._follower.catch_up()  # before the history: what leaves the snapshot is there by then
        fold, basis = self._follower.fold, (daemon is not None, self._seen[0])
        if keys is None or keys or basis != self._basis or not self._at <= now < self._standing.until:
            told = Told(daemon is not None, {} if seen is None else seen.reasons)
            self._standing, self._basis, self._at = standing(fold.of, told, now), basis, now
        totals = self._totals()
        tally = None
        if totals is not None:
            self._snapshot_tally.look(fold.of, self._standing.ended, totals.there)
            tally = Tally(totals.tally.numbers)
            tally.add(self._snapshot_tally.tally)
        return Values(
            daemon=daemon,
            seen=None if seen is None else _seen(seen),
            standing=self._standing,
            tally=tally,
            snapshot=_size(self._state.snapshot),
            history=_size(self._state.history),
        )

    def close(self) -> None:
        """Closes the snapshot."""
        self._follower.close()

    def _look(self, pid: int | None) -> Observed | None:
        """What this daemon last saw; None if another one wrote the file, or none."""
        stamp = _stamp(self._observed)
        if stamp != self._seen[0]:
            self._seen = stamp, observed_reader.read(self._state)
        found = self._seen[1]
        return found if found.is_known and found.pid == pid else None

    def _totals(self) -> Totals | None:
        """Opened anew each time that it has changed, which costs a millisecond: it may have been replaced."""
        ended = {spec_id for spec_id, _ in self._standing.ended}
        path = self._state.history
        key = (_stamp(path), _stamp(f"{path}-wal"), frozenset(ended))
        if key != self._past[0]:
            self._past = key, self._read_totals(path, ended)
        return self._past[1]

    def _read_totals(self, path: str, ended: set[int]) -> Totals | None:
        if not os.path.exists(path):
            return Totals(Tally(), set())
        try:
            history = history_access.of(self._state)
            try:
                return Totals(*history.tally(ended))
            finally:
                history.close()
        except (GflowError, FileNotFoundError) as error:
            self.trouble = str(error)
            return None


def _seen(found: Observed) -> Seen:
    return Seen(
        at=found.at or 0.0,
        capacity={"gpus": found.gpu_count, "cpus": found.cpus, "memory_mb": found.memory_mb},
        used={"cpus": found.used_cpus or 0, "memory_mb": found.used_memory_mb or 0},
        gpus=[gpu.raw for gpu in found.gpus],
        meters=found.meters,
        troubles={"scheduler": found.trouble, "gpus": found.gpu_trouble, **found.service_troubles},
    )


def _stamp(path: str) -> Stamp:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _size(path: str) -> int | None:
    stamp = _stamp(path)
    return None if stamp is None else stamp[2]
