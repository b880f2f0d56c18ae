"""Sleeps exactly to the next edge (a begin time, a reservation's start or end) and wakes the scheduler there."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from gflowd.effects.doorbell import FINDING
from gflowd.effects.kernel.clockwatch import ClockWatch
from gflowd.workers.base import Turn

if TYPE_CHECKING:
    from gflowd.core.moment import Moment
    from gflowd.workers.base import Wiring
    from gflowd.workers.board_slots import Slots


def open(_wiring: Wiring) -> ReservationTimer:  # noqa: A001 -- the workers' protocol
    """The timer."""
    return ReservationTimer()


class ReservationTimer:
    """Decision: the edges that have passed. Edges are wall times: setting the clock moves them, which wakes
    the timer and, because edges that were behind may be ahead again, the scheduler.
    """

    def __init__(self) -> None:
        self._clock = ClockWatch()

    def tick(self, now: Moment, slots: Slots) -> Turn:
        """Splits the scheduler's edges at now."""
        rings = FINDING if self._clock.was_set() else b""
        edges = () if slots.agenda is None else slots.agenda.edges
        passed = bisect_right(edges, now.wall)
        wake_at = now.mono + edges[passed] - now.wall if passed < len(edges) else None
        return Turn(edges[:passed], None, wake_at, self._clock.descriptors, rings)

    def close(self) -> None:
        """Watches the clock no more."""
        self._clock.close()
