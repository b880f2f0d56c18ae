"""The reservation calendar: which reservations exist, what they keep now and next, and when that changes. Mutable;
pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gflowd.core.planning import reservations

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

    from gflowd.core.planning.reservations import Reservation, Window

HORIZON = 35 * 86400.0  # seconds: repeating reservations are expanded this far


class ReservationCalendar:
    """`standing`: the reservations that are not cancelled; `windows`, `coming` and `edges` are as of the last `look`.

    `windows` has the current or else the next window of each reservation; `coming` all that begin before `horizon`, and
    those beyond that come only once. All are recomputed only when an edge has passed or the clock was set back, so a
    look costs next to nothing.
    """

    def __init__(self, zone: tzinfo | None) -> None:
        self.zone = zone
        self.standing: list[Reservation] = []
        self.windows: list[Window] = []
        self.coming: list[Window] = []
        self.horizon = float("inf")
        self.edges: tuple[float, ...] = ()
        self._since = self._until = float("inf")

    def take(self, records: Mapping[int, Any]) -> None:
        """The records of all reservations, by id."""
        self.standing = [each for each in reservations.decode_all(records) if each.cancelled_at is None]
        self._since = self._until = float("inf")

    def look(self, wall: float) -> None:
        """Recomputes the windows for time `wall`, if an edge has passed."""
        if self._since <= wall < self._until:
            return
        self.windows = reservations.upcoming(self.standing, wall, self.zone)
        self.horizon = wall + HORIZON
        far = [window for window in self.windows if window.start >= self.horizon and not window.again]
        self.coming = [*reservations.windows(self.standing, wall, self.horizon, self.zone), *far]
        self.edges = tuple(reservations.edges(self.standing, wall, self.zone))
        self._since, self._until = wall, self.edges[0] if self.edges else float("inf")
