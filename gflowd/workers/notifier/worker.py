"""Tells people and programs what happened, as gflow.toml and jobs ask for. A slow or dead receiver delays nothing: what
is to be told is kept in the outbox first, and other processes deliver it.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from gflowd import log
from gflowd.config import notification_targets
from gflowd.core.errors import GflowError
from gflowd.core.events import kinds
from gflowd.core.notify import retries
from gflowd.core.notify.retries import Outcome
from gflowd.storage import history
from gflowd.storage.journal.reader import Reader
from gflowd.storage.outbox import Outbox, OutboxFailed
from gflowd.workers.base import Turn
from gflowd.workers.board_slots import Service
from gflowd.workers.notifier import delivery, intake
from gflowd.workers.notifier.couriers import Courier

if TYPE_CHECKING:
    from gflowd.core.moment import Moment
    from gflowd.storage.outbox import Waiting
    from gflowd.workers.base import Wiring
    from gflowd.workers.board_slots import Slots
    from gflowd.workers.notifier.couriers import Report
    from gflowd.workers.notifier.delivery import Way

LINGER = 60.0  # seconds without anything to do before it rests
FRESH = 3600.0  # seconds: without an outbox, what is older has been told, or was not asked for
MANY = 20  # messages for a person, of which one is made
MOST_IN_ONE = 5000
MOST_AT_ONCE = 50  # messages that a process delivers
TRY_AGAIN = 10.0  # seconds after trouble with the outbox
ARRAYS_KEPT = 90 * 86400.0
TROUBLE = 3  # failures in a row that a person should hear of


class Notifier:
    """The state between ticks. `chance` returns a number in [0, 1)."""

    def __init__(self, wiring: Wiring) -> None:
        self._config = wiring.config
        self._state = wiring.state
        self._log = log.get("notifier")
        self._targets = notification_targets.of(wiring.config)
        self._outbox: Outbox | None = None
        self._reader = Reader(wiring.state)
        self._couriers: dict[str, Courier] = {}
        self._unnoted: list[tuple[str, Report]] = []  # by receiver; nothing else is sent until the outbox has them
        self._busy_at = -math.inf  # when there last was anything to do (monotonic)
        self._read_since = -math.inf  # only later events are read
        self._said: set[tuple[str, str]] = set()  # of a receiver, and why it refused something
        self._trouble: str | None = None
        self._tidied_at = -math.inf
        self.chance = random.random

    def tick(self, now: Moment, _slots: Slots) -> Turn:
        """Reads what happened, notes how deliveries went, begins others."""
        trouble, wait = None, TRY_AGAIN
        try:
            wait = self._work(now)
            trouble = self._trouble
        except OutboxFailed as error:
            trouble = str(error)
            self._mend(error)
        except GflowError as error:
            trouble = str(error)
        if trouble is not None and trouble != self._trouble:
            self._log.warning("trouble", why=trouble)
        self._trouble = trouble
        if self._busy_at == -math.inf or self._couriers:
            self._busy_at = now.mono
        return Turn(
            Service(trouble),
            wake_at=now.mono + wait,
            descriptors=tuple(courier.fd for courier in self._couriers.values()),
            rests=self._may_rest(now),
        )

    def close(self) -> None:
        """What is being delivered now is delivered again."""
        for courier in self._couriers.values():
            courier.end()
        self._couriers.clear()
        self._reader.close()
        if self._outbox is not None:
            self._outbox.close()

    def _work(self, now: Moment) -> float:
        """Returns in how many seconds there is something to do again."""
        self._hear(now)
        outbox = self._open(now)
        self._note_reports(outbox, now)
        self._read(outbox, now)
        self._tidy(outbox, now)
        waiting = outbox.waiting()
        self._trouble = self._told_of(waiting)
        self._send(outbox, waiting, now)
        due = [retries.due(each.due_at, now.wall) for each in waiting if each.key not in self._couriers]
        if (mark := outbox.next_mark()) is not None:
            due.append(mark)
        within = [courier.deadline - now.mono for courier in self._couriers.values()]
        if waiting or due:
            self._busy_at = now.mono
        free = len(self._couriers) < self._config.notify_concurrency
        return max(0.0, min([*within, *((at - now.wall for at in due) if free else ()), LINGER], default=LINGER))

    def _may_rest(self, now: Moment) -> bool:
        is_idle = not self._targets and self._trouble is None and not self._couriers
        return is_idle and now.mono - self._busy_at >= LINGER

    def _open(self, now: Moment) -> Outbox:
        if self._outbox is None:
            outbox = Outbox(self._state.outbox, write=True)
            with outbox.commit():
                since = outbox.know((target.key for target in self._targets), now.wall - intake.SLACK)
                outbox.retry_now()
            if (last := outbox.last) is not None:
                self._reader = Reader(self._state, kinds.decode_id(last))
            else:
                self._read_since = now.wall - FRESH
            urls = self._state.shared is None or self._config.shared_notify_urls
            self._intake = intake.Intake(outbox, self._targets, since, urls=urls)
            self._outbox = outbox
        return self._outbox

    def _mend(self, error: OutboxFailed) -> None:
        """Closes the outbox, to open it again. A damaged one is put aside, and with it what was in it. Otherwise what
        is being delivered goes on: nothing is sent twice because the disk is full.
        """
        if self._outbox is not None:
            self._outbox.close()
            self._outbox = None
        self._reader.close()
        self._reader = Reader(self._state)
        if error.damaged:
            for courier in self._couriers.values():
                courier.end()
            self._couriers.clear()
            self._unnoted.clear()
            self._log.error("outbox set aside", why=str(error), path=history.set_aside(self._state.outbox))

    def _read(self, outbox: Outbox, now: Moment) -> None:
        oldest = max(min(self._read_since, now.wall - FRESH), now.wall - self._config.notify_give_up)
        events = self._reader.read()
        mark = outbox.next_mark()
        if self._reader.lost:
            self._reader.lost = False
            self._log.warning("events lost", why="the journal no longer had them; raise [events] keep")
        if not events and (mark is None or mark > now.wall):
            return
        news = [event for event in events if event["at"] >= oldest]
        if len(news) < len(events):
            self._log.info("old events skipped", count=len(events) - len(news))
        with outbox.commit():
            self._intake.take(news, now.wall)
            self._intake.take_marks(now.wall)
            if self._reader.last is not None:
                outbox.last = kinds.encode_id(self._reader.last)
            dropped = outbox.bound()
        for key, count in dropped:
            self._say_once(key, "given up", why="too many wait for it", count=count)

    def _hear(self, now: Moment) -> None:
        for key, courier in list(self._couriers.items()):
            reports, is_over = courier.reports(now.mono)
            if is_over:
                del self._couriers[key]
            self._unnoted += ((key, report) for report in reports)

    def _note_reports(self, outbox: Outbox, now: Moment) -> None:
        if self._unnoted:
            with outbox.commit():
                for key, report in self._unnoted:
                    self._note(outbox, key, report, now)
            self._unnoted.clear()

    def _note(self, outbox: Outbox, key: str, report: Report, now: Moment) -> None:
        unit, outcome = report
        failures, _, dropped = outbox.failures(key)
        way = delivery.way(key, self._config)
        shown = key.partition(" ")[0] if way is None else way.shown
        most = None if way is None else way.target.max_retries
        if outcome.kind == "again" and most is not None and unit.tries >= most:
            outcome = Outcome("refused", f"{outcome.why} (tried {unit.tries + 1} times)")
        if outcome.kind == "delivered":
            outbox.delivered(key, unit.ids)
            if failures:
                self._log.info("delivers again", receiver=shown, failures=failures, given_up=dropped)
            self._said = {said for said in self._said if said[0] != key}
        elif outcome.kind == "refused":
            outbox.refused(key, unit.ids, outcome.why)
            self._say_once(key, "refused", why=outcome.why, events=len(unit.ids))
        else:
            due_at = now.wall + retries.delay(failures + 1, self.chance(), outcome.wait)
            outbox.failed(key, unit.ids, outcome.why, due_at)
            if not failures:
                self._log.warning("cannot deliver, tries again", receiver=shown, why=outcome.why)

    def _tidy(self, outbox: Outbox, now: Moment) -> None:
        """Gives up what is too old; looks no more than once a minute."""
        if now.mono - self._tidied_at < LINGER:
            return
        self._tidied_at = now.mono
        with outbox.commit():
            dropped = outbox.give_up(now.wall - self._config.notify_give_up)
            outbox.forget_arrays(now.wall - ARRAYS_KEPT)
        for key, count in dropped:
            self._say_once(key, "given up", why="could not be delivered in time", count=count)

    def _send(self, outbox: Outbox, waiting: list[Waiting], now: Moment) -> None:
        for each in waiting:
            if len(self._couriers) >= self._config.notify_concurrency:
                return
            if each.key in self._couriers or retries.due(each.due_at, now.wall) > now.wall:
                continue
            way = delivery.way(each.key, self._config)
            if way is None:
                self._drop(outbox, each)
            else:
                self._dispatch(outbox, each.key, way, now)

    def _dispatch(self, outbox: Outbox, key: str, way: Way, now: Moment) -> None:
        if way.merges:
            with outbox.commit():
                outbox.merge(key, MANY, MOST_IN_ONE)
        way.prepare()
        config, state = self._config, self._state
        self._couriers[key] = Courier(
            key,
            outbox.units(key, MOST_AT_ONCE),
            way.timeout,
            lambda: delivery.opened(way.target, config, state),
            now.mono,
        )

    def _drop(self, outbox: Outbox, waiting: Waiting) -> None:
        """It is no longer in gflow.toml."""
        with outbox.commit():
            outbox.drop(waiting.key)
        self._log.warning("given up", why="no longer in gflow.toml", count=waiting.number)

    def _say_once(self, key: str, what: str, **fields: object) -> None:
        """Until a delivery succeeds."""
        if (key, f"{what} {fields['why']}") in self._said:
            return
        self._said.add((key, f"{what} {fields['why']}"))
        way = delivery.way(key, self._config)
        self._log.warning(what, receiver=key.partition(" ")[0] if way is None else way.shown, **fields)

    def _told_of(self, waiting: list[Waiting]) -> str | None:
        """The trouble with receivers, for people."""
        failing = [each for each in waiting if each.failures >= TROUBLE]
        if not failing:
            return None
        way = delivery.way(failing[0].key, self._config)
        shown = "a receiver" if way is None else way.shown
        others = f" (and {len(failing) - 1} others)" if len(failing) > 1 else ""
        return f"cannot deliver to {shown}{others}: {failing[0].why}"


def open(wiring: Wiring) -> Notifier:  # noqa: A001 -- the name that every worker module has
    """The worker."""
    return Notifier(wiring)
