"""The reservation calendar: which reservations there are, what they keep now and next, and when that changes. Mutable;
pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gflowd.core.planning import reservations

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

    from gflowd.core.planning.reservations import Reservation, Window

HORIZON = 35 * 86400.0  # seconds: what comes again and again is laid out that far


class ReservationCalendar:
    """`standing`: the reservations that are not cancelled; `windows`, `coming` and `edges` are as of the last `look`.

    `windows` has of each reservation its present window or else its next; `coming` all that begin before `horizon`, and
    those beyond that come only once. All are found anew only when an edge has passed or the clock was set back, so a
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
        """Turns to the page of the instant `wall`."""
        if self._since <= wall < self._until:
            return
        self.windows = reservations.upcoming(self.standing, wall, self.zone)
        self.horizon = wall + HORIZON
        far = [window for window in self.windows if window.start >= self.horizon and not window.again]
        self.coming = [*reservations.windows(self.standing, wall, self.horizon, self.zone), *far]
        self.edges = tuple(reservations.edges(self.standing, wall, self.zone))
        self._since, self._until = wall, self.edges[0] if self.edges else float("inf")
