"""Time that is made up: one clock, and what is to happen on it, in order. Knows nothing of gflow but its `Moment`."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random

from gflowd.core.moment import Moment

EPOCH = 1_800_000_000.0  # seconds: the wall clock when a run begins
UPTIME = 1000.0  # seconds: the monotonic clock then
BOOT = "a-virtual-boot"

Happening = Callable[[], object]


class Clock:
    """`now`: seconds since the run began. What is due at one instant happens in random order."""

    def __init__(self, dice: Random) -> None:
        self.now = 0.0
        self._dice = dice
        self._coming: list[tuple[float, float, int, Happening]] = []
        self._number = 0

    @property
    def wall(self) -> float:
        """Seconds since the epoch."""
        return EPOCH + self.now

    @property
    def mono(self) -> float:
        """The monotonic clock."""
        return UPTIME + self.now

    def moment(self) -> Moment:
        """Now, as the daemon is told it."""
        return Moment(EPOCH + self.now, UPTIME + self.now, BOOT)

    def at(self, when: float, what: Happening) -> None:
        """Has `what` happen at `when`, or now if that has passed."""
        self._number += 1
        heappush(self._coming, (max(when, self.now), self._dice.random(), self._number, what))

    def after(self, delay: float, what: Happening) -> None:
        """Has `what` happen `delay` seconds from now."""
        self.at(self.now + delay, what)

    def next_at(self) -> float | None:
        """When something happens next."""
        return self._coming[0][0] if self._coming else None

    def step(self) -> None:
        """Goes to the next that is to happen, and has it happen."""
        self.now, _, _, what = heappop(self._coming)
        what()

    def run(self, until: float) -> None:
        """Goes on until then."""
        while self._coming and self._coming[0][0] <= until:
            self.step()
        self.now = max(self.now, until)


def shown(now: float) -> str:
    """`3:04:05.250`: hours, minutes, seconds since the run began."""
    minutes, seconds = divmod(now, 60)
    return f"{int(minutes) // 60}:{int(minutes) % 60:02}:{seconds:06.3f}"
