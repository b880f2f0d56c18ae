"""Times as users read and write them, in one time zone: the only place that turns instants into text and back.

A printed time tells how far its zone is from UTC if the zone is not the machine's, and in the hour that a clock change
repeats. RFC 3339 for JSON is not here.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import tzinfo

STAMP = "%Y-%m-%dT%H:%M:%S"
MINUTE = "%Y-%m-%d %H:%M"
TIME = "%H:%M"
SECONDS = "%H:%M:%S"
DAY, WEEK, YEAR = 86400, 7 * 86400, 365 * 86400
FIRST, LAST = -62135510400, 253402128000  # of the calendar in `datetime`, in any zone
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 -- on whichever clock
REACH = 3 * 3600  # seconds; no clock change of these days repeats more than an hour


class Clock:
    """The clock of a time zone, by default of the machine's. `name` is that of the zone, if it is another."""

    __slots__ = ("name", "zone")

    def __init__(self, zone: tzinfo | None = None, name: str | None = None) -> None:
        self.zone = zone
        self.name = name

    def instant(self, text: str, now: float) -> float:
        """The instant that `text` means, as `instants.parse`."""
        from gflowd.core.syntax import instants

        return instants.parse(text, now, self.zone)

    def past_instant(self, text: str, now: float) -> float:
        """As `instants.parse_past`."""
        from gflowd.core.syntax import instants

        return instants.parse_past(text, now, self.zone)

    def stamp(self, at: float | None, missing: str = "N/A") -> str:
        """`2025-01-31T18:30:00`, or `2025-01-31T18:30:00+09:00`."""
        return missing if at is None else self.show(at, STAMP)

    def near(self, at: float, now: float, *, seconds: bool = False) -> str:
        """Shorter if it is near: `18:00`, with `seconds` `18:00:05`, `Mon 09:00`, `2025-01-31 09:00`."""
        days = int(self.wall(at) // DAY - self.wall(now) // DAY)
        return self.show(
            at, (SECONDS if seconds else TIME) if days == 0 else "%a %H:%M" if 0 < days < WEEK // DAY else MINUTE
        )

    def show(self, at: float, form: str) -> str:
        """In a form of strftime(3)."""
        offset = self.offset(at)
        shown = (EPOCH + timedelta(seconds=_within(at) + offset)).strftime(form)
        return shown if self.name is None and not self._comes_twice(at, offset) else f"{shown}{_distance(offset)}"

    def other(self, zone: tzinfo | None) -> str:
        """` in Asia/Tokyo` for a time that is told by the clock of `zone`, where that is not plain."""
        if self.name is None and zone == self.zone:
            return ""
        name = getattr(zone, "key", None)
        return " by the machine's clock" if name is None else f" in {name}"

    def wall(self, at: float) -> float:
        """What the clock shows, as seconds since it showed the epoch."""
        return at + self.offset(at)

    def offset(self, at: float) -> int:
        """Seconds by which the clock is ahead of UTC."""
        distance = datetime.fromtimestamp(_within(at), UTC).astimezone(self.zone).utcoffset()
        return 0 if distance is None else int(distance.total_seconds())

    def _comes_twice(self, at: float, offset: int) -> bool:
        """Whether the clock shows the same at another instant."""
        others = {self.offset(at - REACH), self.offset(at + REACH)} - {offset}
        return any(self.offset(at + offset - other) == other for other in others)


def of(name: str | None, now: float) -> Clock:
    """The clock of the zone called `name`; the machine's for None. Raises `Refused` for an unknown name."""
    if name is None:
        return Clock()
    from gflowd.core.syntax import instants

    found, here = Clock(instants.zone(name)), Clock()
    weeks = (now + week * WEEK for week in range(-YEAR // WEEK, YEAR // WEEK))
    return found if all(found.offset(at) == here.offset(at) for at in weeks) else Clock(found.zone, name)


def _within(at: float) -> float:
    return min(max(at, FIRST), LAST)


def _distance(offset: int) -> str:
    """`+09:00`, as in RFC 3339."""
    hours, seconds = divmod(abs(offset), 3600)
    return f"{'-' if offset < 0 else '+'}{hours:02}:{seconds // 60:02}"
