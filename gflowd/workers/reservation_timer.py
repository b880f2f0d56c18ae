"""Sleeps exactly to the next edge (a begin time; later a reservation's start and end) and wakes the scheduler there."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from gflowd.workers.base import Turn

if TYPE_CHECKING:
    from gflowd.core.moment import Moment
    from gflowd.workers.base import Wiring


def open(_wiring: Wiring) -> ReservationTimer:  # noqa: A001 -- the workers' protocol
    """The timer."""
    return ReservationTimer()


class ReservationTimer:
    """Decision: the edges that have passed. Edges are wall time, so that a clock set anew moves them with it."""

    def tick(self, now: Moment, slots: dict[str, Any]) -> Turn:
        """Splits the scheduler's edges at now."""
        slot = slots.get("scheduler")
        edges = () if slot is None else slot[0].edges
        passed = bisect_right(edges, now.wall)
        wake_at = now.mono + edges[passed] - now.wall if passed < len(edges) else None
        return Turn(edges[:passed], None, wake_at)

    def close(self) -> None:
        """Nothing to close."""
