"""Tells in the journal of events what has happened since the last tick. Decides nothing; what cannot be written is told
later, and keeps no tick from its work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowd import log
from gflowd.core.errors import GflowError
from gflowd.core.events import job_events, kinds
from gflowd.core.events.told import Told
from gflowd.storage.journal.writer import Writer

if TYPE_CHECKING:
    from gflowd import paths
    from gflowd.core.moment import Moment
    from gflowd.workers.scheduler.snapshot_follower import SchedulerState

RETRY = 5.0  # seconds after a write that failed


class EventWriter:
    """Its memory can be lost: the journal says what was told. `retry_at`: monotonic, None unless a write failed."""

    def __init__(self, state: paths.State, keep: int) -> None:
        self._state = state
        self._keep = keep
        self._log = log.get("scheduler")
        self._writer: Writer | None = None
        self._trouble: str | None = None
        self.retry_at: float | None = None

    def tell(self, current: SchedulerState, now: Moment) -> None:
        """Writes what is untold."""
        untold = current.untold
        if not (untold.whole or untold.specs or untold.jobs) or (self.retry_at or now.mono) > now.mono:
            return
        try:
            self._write(current, now)
        except (OSError, GflowError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            if why != self._trouble:
                self._log.error("cannot write events", why=why)
            self._trouble, self.retry_at = why, now.mono + RETRY
            return
        self._trouble = self.retry_at = None
        untold.clear()

    def close(self) -> None:
        """Closes the journal."""
        if self._writer is not None:
            self._writer.close()

    def _write(self, current: SchedulerState, now: Moment) -> None:
        facts, untold = current.job_facts(), current.untold
        writer = self._opened(current, facts)
        events = job_events.derive(facts, writer.told, untold, now.wall)
        if events:
            writer.write(events)
        writer.told.forget(*job_events.gone(facts, writer.told, untold))

    def _opened(self, current: SchedulerState, facts: job_events.JobFacts) -> Writer:
        if self._writer is None:
            writer = Writer(self._state, self._keep, current.generation)
            if writer.is_lost and current.generation == 1:
                writer.begin(Told(), kinds.FIRST)
            elif writer.is_lost:  # or there was none yet: what became of earlier jobs is not told twice
                writer.begin(job_events.all_told(facts), None)
            self._writer = writer
        return self._writer
