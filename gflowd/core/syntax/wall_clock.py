"""Between instants and what a clock on the wall shows, which a clock change skips or repeats."""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import tzinfo


def on_the_wall(at: float, zone: tzinfo | None) -> datetime:
    """What the clock shows at the instant `at`, without its zone; `zone` None is the machine's local zone."""
    return datetime.fromtimestamp(at, zone).replace(tzinfo=None, fold=0)


def first_instant(wall: datetime, zone: tzinfo | None) -> float:
    """When the clock shows `wall` for the first time, or first shows more."""
    early, late = sorted(wall.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    if on_the_wall(early, zone) == wall:
        return early
    seconds = range(int(early), int(late) + 1)  # the change is in between; clocks change at whole seconds
    return float(seconds[bisect_left(seconds, True, key=lambda second: on_the_wall(second, zone) > wall)])
