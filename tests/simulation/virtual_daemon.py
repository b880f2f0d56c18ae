"""gflowd in one process: its workers, its board and its doorbell, each worker ticking when it would be woken.

What `workers.base` does between two ticks is done here on the virtual clock. The net of intervals that heals a lost
ring is left out, so that one shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import inside
from inside import Killed
from virtual_clock import UPTIME, Clock
from virtual_gpus import Driver, Looking

from gflowd.core.moment import Moment
from gflowd.workers import WORKERS, Row, wanted
from gflowd.workers.base import Turn
from gflowd.workers.board_slots import Post, Slots

KILL_POINTS = ("commit", "write", "launch", "post")  # of a scheduler: ahead of the first three, after all was done
SOON = 1.5  # seconds: the observer writes once a second
BACK_OFF = (0.005, 0.05, 2.0, 30.0)  # seconds until a killed worker is there again


@dataclass(slots=True)
class Place:
    """A worker at its place. `due`: when it ticks next; `busy`: in a look at the GPUs; `life` counts its processes."""

    row: Row
    worker: Any = None
    last: Turn | None = None
    due: float | None = None
    busy: bool = False
    missed: bool = False  # a ring while it was busy
    life: int = 0


class Daemon(inside.Hooks):
    """`board` as the workers post to it. `checked` is called after each tick of the scheduler, `between` in the midst
    of one, ahead of its commit.
    """

    def __init__(
        self, clock: Clock, dice: Random, wiring: Any, driver: Driver, look: Callable[[], float], delay: float
    ) -> None:
        self.board: dict[str, Post] = {}
        self.places = {row.name: Place(row) for row in wanted(wiring.config, WORKERS)}
        self.begins: Callable[[], None] = lambda: None
        self.checked: Callable[[], None] = lambda: None
        self.between: Callable[[], None] | None = None
        self.kill_point: str | None = None
        self.ticks = 0
        self._clock = clock
        self._dice = dice
        self._wiring = wiring
        self._driver = driver
        self._look = look
        self._delay = delay
        self._in_tick = False

    @property
    def scheduler(self) -> Any:
        return self.places["scheduler"].worker

    def start(self) -> None:
        for place in self.places.values():
            self._open(place)

    def ring(self, kinds: bytes) -> None:
        """Wakes those who wake for one of `kinds`."""
        for place in self.places.values():
            if any(kind in place.row.wakes_for for kind in kinds):
                self._wake(place, self._clock.now + self._latency())

    def readable(self, descriptors: set[int]) -> None:
        """Wakes those who wait for one of them."""
        for place in self.places.values():
            if place.last is not None and descriptors.intersection(place.last.descriptors):
                self._wake(place, self._clock.now + self._latency())

    def kill(self, name: str) -> None:
        """Kills a worker; another takes its place a little later."""
        place = self.places[name]
        if place.worker is not None:
            inside.discard(place.worker)
            place.worker, place.last, place.due, place.busy = None, None, None, False
            place.life += 1
            self._clock.after(self._dice.choice(BACK_OFF), lambda: self._open(place))

    def lose_board(self) -> None:
        """The Manager dies: the board is empty, and all workers begin anew."""
        self.board.clear()
        for name in self.places:
            self.kill(name)

    def is_quiet(self) -> bool:
        """Whether nothing is on its way: no ring, no look, nothing still to be shown, no worker that is yet to come."""
        soon = self._clock.now + SOON
        at_rest = (
            place.worker is not None and not place.busy and (place.due is None or place.due > soon)
            for place in self.places.values()
        )
        return "scheduler" in self.board and all(at_rest) and not inside.asks_for_look(self.board)

    def close(self) -> None:
        """Ends all workers, as a kill would."""
        for place in self.places.values():
            if place.worker is not None:
                inside.discard(place.worker)

    # The hooks.

    def before_commit(self) -> None:
        if not self._in_tick:
            return
        self._killed_at("commit")
        if self.between is not None:
            between, self.between, self._in_tick = self.between, None, False
            between()
            self._in_tick = True

    def before_launch(self) -> None:
        self._killed_at("launch")

    def torn(self) -> int | None:
        if not self._in_tick or self.kill_point != "write":
            return None
        self.kill_point = None
        return self._dice.randrange(1 << 16)

    def _killed_at(self, point: str) -> None:
        if self._in_tick and self.kill_point == point:
            self.kill_point = None
            raise Killed

    # What each worker's process does.

    def _open(self, place: Place) -> None:
        place.worker = inside.opened(place.row.name, self._wiring, self._driver)
        self._wake(place, self._clock.now + self._latency())

    def _latency(self) -> float:
        """How long after it was woken a worker runs."""
        return self._dice.random() * (self._delay if self._dice.random() < 0.9 else 20 * self._delay)

    def _wake(self, place: Place, when: float) -> None:
        if place.busy:
            place.missed = True
        elif place.worker is not None and (place.due is None or when < place.due):
            place.due = when
            self._clock.at(when, lambda: self._tick_if(place, when))

    def _tick_if(self, place: Place, when: float) -> None:
        if place.due == when and place.worker is not None and not place.busy:
            place.due = None
            self._tick(place, self._clock.moment(), Slots(dict(self.board)))

    def _tick(self, place: Place, now: Moment, slots: Slots) -> None:
        self.ticks += 1
        is_scheduler = place.row.name == "scheduler"
        if is_scheduler:
            self.begins()
        self._in_tick = is_scheduler
        try:
            turn = place.worker.tick(now, slots)
            self._killed_at("post")
        except Killed:
            self.kill("scheduler")
            turn = None
        except Looking:
            self._begin_look(place, now, slots)
            return
        finally:
            self._in_tick = False
        if turn is not None:
            self._take(place, turn)
        if is_scheduler:
            self.checked()

    def _begin_look(self, place: Place, now: Moment, slots: Slots) -> None:
        """The driver sees the GPUs at some time between the beginning of a look and its end."""
        place.busy, life, takes = True, place.life, self._look()

        def answer() -> None:
            if place.life == life:
                self._driver.answers = True
                turn = place.worker.tick(now, slots)
                self._driver.answers = False
                self._clock.at(now.mono - UPTIME + takes, lambda: end(turn))

        def end(turn: Turn) -> None:
            if place.life == life:
                place.busy = False
                self._take(place, turn)
                if place.missed:
                    place.missed = False
                    self._wake(place, self._clock.now)

        self._clock.after(takes * self._dice.random(), answer)

    def _take(self, place: Place, turn: Turn) -> None:
        """Posts, rings and sleeps, as the loop in `workers.base`."""
        last, row = place.last, place.row
        if last is None or turn.post != last.post:
            self.board[row.name] = turn.post
        rings = turn.rings + (row.rings if last is None or turn.decision != last.decision else b"")
        place.last = turn
        if turn.wake_at is not None:
            self._wake(place, max(self._clock.now, turn.wake_at - UPTIME) + self._latency())
        if rings:
            self.ring(rings)
