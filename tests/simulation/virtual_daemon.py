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
from gflowd.workers import WORKERS, Row
from gflowd.workers.base import Turn

KILL_POINTS = ("commit", "write", "launch", "post")  # of a scheduler: ahead of the first three, after all was done
SOON = 1.5  # seconds: the observer writes once a second
BACK_OFF = (0.005, 0.05, 2.0, 30.0)  # seconds until a killed worker is there again


@dataclass(slots=True)
class Post:
    """A worker at its post. `due`: when it ticks next; `busy`: in a look at the GPUs; `life` counts its processes."""

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
        self.board: dict[str, Any] = {}
        self.posts = {row.name: Post(row) for row in WORKERS}
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
        return self.posts["scheduler"].worker

    def start(self) -> None:
        for post in self.posts.values():
            self._open(post)

    def ring(self, kinds: bytes) -> None:
        """Wakes those who wake for one of `kinds`."""
        for post in self.posts.values():
            if any(kind in post.row.wakes_for for kind in kinds):
                self._wake(post, self._clock.now + self._latency())

    def readable(self, descriptors: set[int]) -> None:
        """Wakes those who wait for one of them."""
        for post in self.posts.values():
            if post.last is not None and descriptors.intersection(post.last.descriptors):
                self._wake(post, self._clock.now + self._latency())

    def kill(self, name: str) -> None:
        """Kills a worker; another takes its place a little later."""
        post = self.posts[name]
        if post.worker is not None:
            inside.discard(post.worker)
            post.worker, post.last, post.due, post.busy = None, None, None, False
            post.life += 1
            self._clock.after(self._dice.choice(BACK_OFF), lambda: self._open(post))

    def lose_board(self) -> None:
        """The Manager dies: the board is empty, and all workers begin anew."""
        self.board.clear()
        for name in self.posts:
            self.kill(name)

    def is_quiet(self) -> bool:
        """Whether nothing is on its way: no ring, no look, nothing still to be shown, no worker that is yet to come."""
        soon = self._clock.now + SOON
        at_rest = (
            post.worker is not None and not post.busy and (post.due is None or post.due > soon)
            for post in self.posts.values()
        )
        return "scheduler" in self.board and all(at_rest) and not inside.asks_for_look(self.board)

    def close(self) -> None:
        """Ends all workers, as a kill would."""
        for post in self.posts.values():
            if post.worker is not None:
                inside.discard(post.worker)

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

    def _open(self, post: Post) -> None:
        post.worker = inside.opened(post.row.name, self._wiring, self._driver)
        self._wake(post, self._clock.now + self._latency())

    def _latency(self) -> float:
        """How long after it was woken a worker runs."""
        return self._dice.random() * (self._delay if self._dice.random() < 0.9 else 20 * self._delay)

    def _wake(self, post: Post, when: float) -> None:
        if post.busy:
            post.missed = True
        elif post.worker is not None and (post.due is None or when < post.due):
            post.due = when
            self._clock.at(when, lambda: self._tick_if(post, when))

    def _tick_if(self, post: Post, when: float) -> None:
        if post.due == when and post.worker is not None and not post.busy:
            post.due = None
            self._tick(post, self._clock.moment(), dict(self.board))

    def _tick(self, post: Post, now: Moment, slots: dict[str, Any]) -> None:
        self.ticks += 1
        is_scheduler = post.row.name == "scheduler"
        if is_scheduler:
            self.begins()
        self._in_tick = is_scheduler
        try:
            turn = post.worker.tick(now, slots)
            self._killed_at("post")
        except Killed:
            self.kill("scheduler")
            turn = None
        except Looking:
            self._begin_look(post, now, slots)
            return
        finally:
            self._in_tick = False
        if turn is not None:
            self._take(post, turn)
        if is_scheduler:
            self.checked()

    def _begin_look(self, post: Post, now: Moment, slots: dict[str, Any]) -> None:
        """The driver sees the GPUs at some time between the beginning of a look and its end."""
        post.busy, life, takes = True, post.life, self._look()

        def answer() -> None:
            if post.life == life:
                self._driver.answers = True
                turn = post.worker.tick(now, slots)
                self._driver.answers = False
                self._clock.at(now.mono - UPTIME + takes, lambda: end(turn))

        def end(turn: Turn) -> None:
            if post.life == life:
                post.busy = False
                self._take(post, turn)
                if post.missed:
                    post.missed = False
                    self._wake(post, self._clock.now)

        self._clock.after(takes * self._dice.random(), answer)

    def _take(self, post: Post, turn: Turn) -> None:
        """Posts, rings and sleeps, as the loop in `workers.base`."""
        last, row = post.last, post.row
        if last is None or (turn.decision, turn.detail) != (last.decision, last.detail):
            self.board[row.name] = (turn.decision, turn.detail)
        rings = turn.rings + (row.rings if last is None or turn.decision != last.decision else b"")
        post.last = turn
        if turn.wake_at is not None:
            self._wake(post, max(self._clock.now, turn.wake_at - UPTIME) + self._latency())
        if rings:
            self.ring(rings)
