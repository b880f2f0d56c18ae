"""Tells in the journal of events what has happened since the last tick. Decides nothing; what cannot be written is told
later, and keeps no tick from its work.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from gflowd import __version__, log
from gflowd.config import notification_targets
from gflowd.core.errors import GflowError
from gflowd.core.events import job_events, kinds, machine_events
from gflowd.core.events.machine_events import Daemon, Process
from gflowd.core.events.told_events import ToldEvents
from gflowd.core.job.records import RESERVATION
from gflowd.effects import doorbell as bell
from gflowd.effects import proc
from gflowd.storage.journal.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gflowd.core.events.kinds import Event
    from gflowd.core.gpu.admin_state import AdminState
    from gflowd.core.gpu.device import Gpu
    from gflowd.core.moment import Moment
    from gflowd.workers.base import Wiring
    from gflowd.workers.scheduler.upkeep.snapshot_follower import SchedulerState

RETRY = 5.0  # seconds after a write that failed
PROCESSES_EVERY = 5.0  # seconds between looks at the processes of the daemon


@dataclass(slots=True)
class Seen:
    """What was there when the events about it were last told, so that looking again costs little."""

    gpus: object = None
    windows: object = None
    processes_at: float = -inf  # monotonic


class EventWriter:
    """Its memory can be lost: the journal says what was told. `retry_at`: monotonic, None unless a write failed."""

    def __init__(self, wiring: Wiring) -> None:
        self._state = wiring.state
        self._keep = wiring.config.events_keep
        self._pulses = wiring.pulses
        self._supervisor = wiring.supervisor
        self._instance = f"{wiring.supervisor}.{proc.start_ticks(wiring.supervisor)}.{proc.boot_id()}"
        self._are_all_wanted = bool(notification_targets.of(wiring.config))  # by the notifier
        self._log = log.get("scheduler")
        self._writer: Writer | None = None
        self._seen = Seen()
        self._trouble: str | None = None
        self.retry_at: float | None = None

    def create(self) -> None:
        """Makes the journal where there never was a scheduler, before there is one: nothing is told of yet. If that
        fails, the first `tell` tries again.
        """
        try:
            writer = Writer(self._state, self._keep, generation=1)
            if writer.is_lost:
                writer.begin(ToldEvents(), kinds.FIRST)
            writer.close()
        except (OSError, GflowError) as error:
            self._log.error("cannot write events", why=str(error))

    def tell(self, current: SchedulerState, gpus: tuple[Gpu, ...] | None, admin: AdminState, now: Moment) -> bytes:
        """Writes what is untold; returns what is to be rung for it. `gpus`: all that there are, None while unknown;
        `admin`: what people ordered.
        """
        if self.retry_at is not None and self.retry_at > now.mono:
            return b""
        try:
            writer, seen = self._opened(current, now), replace(self._seen)
            told, untold = writer.told, current.untold
            events = [
                *self._of_processes(told, seen, now),
                *self._of_gpus(gpus, admin, told, seen, now),
                *self._of_reservations(current, told, seen, now),
            ]
            if untold:
                facts = current.job_facts()
                events += job_events.derive(facts, told, untold, now.wall)
            if events:
                writer.write(events)
        except (OSError, GflowError) as error:
            self._put_off(error, now)
            return b""
        self._seen, self._trouble, self.retry_at = seen, None, None
        told.machine.forget(current.of(RESERVATION))
        if untold:
            told.forget(*job_events.gone(facts, told, untold))
            untold.clear()
        if any("notify" in event for event in events):
            return bell.NOTICE
        return bell.EVENT if events and self._are_all_wanted else b""

    def close(self, now: Moment) -> None:
        """Tells of the end of the daemon, if it is that, and closes the journal."""
        if self._writer is None:
            return
        if self._pulses.is_ending:
            try:
                daemon = self._daemon(now)
                restarts = machine_events.of_daemon(daemon, self._writer.told.machine, now.wall)
                self._writer.write([*restarts, machine_events.of_end(daemon, now.wall)])
            except (OSError, GflowError) as error:
                self._put_off(error, now)
        self._writer.close()

    def _put_off(self, error: OSError | GflowError, now: Moment) -> None:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if why != self._trouble:
            self._log.error("cannot write events", why=why)
        self._trouble, self.retry_at = why, now.mono + RETRY

    def _of_processes(self, told: ToldEvents, seen: Seen, now: Moment) -> Iterable[Event]:
        if now.mono < seen.processes_at + PROCESSES_EVERY:
            return ()
        seen.processes_at = now.mono
        return machine_events.of_daemon(self._daemon(now), told.machine, now.wall)

    def _of_gpus(
        self, gpus: tuple[Gpu, ...] | None, admin: AdminState, told: ToldEvents, seen: Seen, now: Moment
    ) -> Iterable[Event]:
        if gpus is None:
            return ()
        found = [(gpu.uuid, gpu.index, gpu.fault) for gpu in gpus], admin.drained
        if found == seen.gpus:
            return ()
        seen.gpus = found
        return machine_events.of_gpus(gpus, admin, told.machine, now.wall)

    def _of_reservations(self, current: SchedulerState, told: ToldEvents, seen: Seen, now: Moment) -> Iterable[Event]:
        calendar = current.calendar
        calendar.look(now.wall)
        if calendar.windows is seen.windows:  # it makes others when a reservation changes, begins or ends
            return ()
        seen.windows = calendar.windows
        records = current.of(RESERVATION)
        return machine_events.of_reservations(records, calendar.windows, told.machine, now.wall)

    def _daemon(self, now: Moment) -> Daemon:
        ago = now.wall - now.mono
        pulses = self._pulses.all()
        processes = [Process(each.name, each.pid, each.restarts, each.started + ago) for each in pulses]
        return Daemon(self._instance, self._supervisor, __version__, processes)

    def _opened(self, current: SchedulerState, now: Moment) -> Writer:
        if self._writer is None:
            writer = Writer(self._state, self._keep, current.generation)
            if writer.is_lost and current.generation == 1:
                writer.begin(ToldEvents(), kinds.FIRST)
            elif writer.is_lost:  # or there was none yet: what became of earlier jobs is not told twice
                told = job_events.all_told(current.job_facts())
                for event in self._of_reservations(current, told, Seen(), now):
                    told.take(event)
                writer.begin(told, None)
                self._log.warning("no journal of events was there; it begins now")
            self._writer = writer
        return self._writer
