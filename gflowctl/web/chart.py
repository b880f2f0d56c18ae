"""Pictures over time as shares of a width: where an instant is, and which marks an axis has. Pure.

Places are per cent, so that a picture is as wide as its page and its text stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowctl.machine.timeline import marks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowd.core.syntax.clocks import Clock

MARKS = 6  # at most about so many on an axis
THINNEST = 0.15  # per cent: narrower bars would not be seen
NARROW = 0.4  # per cent: bars that follow each other and are narrower are drawn as one


@dataclass(frozen=True, slots=True)
class Mark:
    """A time on an axis."""

    x: float
    text: str


@dataclass(frozen=True, slots=True)
class Scale:
    """From instants to per cent."""

    begin: float
    end: float

    def x(self, at: float) -> float:
        """Where an instant is; before the picture 0, after it 100."""
        share = (at - self.begin) / (self.end - self.begin)
        return round(100 * min(1.0, max(0.0, share)), 3)

    def axis(self, clock: Clock) -> list[Mark]:
        """Times of day, at midnight the date."""
        apart = (self.end - self.begin) / MARKS
        found = marks(self.begin, self.end, apart, clock.zone)
        return [
            Mark(self.x(at), wall.strftime("%m-%d" if (wall.hour, wall.minute) == (0, 0) else "%H:%M"))
            for at, wall in found
        ]


@dataclass(frozen=True, slots=True)
class Bar:
    """A span of a lane. `kind`: a class of the style sheet; `text` stands in it, `title` says all, `link` leads on."""

    x: float
    width: float
    kind: str
    text: str
    title: str
    link: str | None = None


def merged(bars: Sequence[Bar], what: str) -> list[Bar]:
    """`bars` by place, with a run of very narrow ones as one that says how many there are."""
    found: list[list[Bar]] = []
    for bar in sorted(bars, key=lambda bar: bar.x):
        last = found[-1][-1] if found else None
        is_near = last is not None and bar.width < NARROW > last.width and bar.x - (last.x + last.width) < NARROW
        if is_near:
            found[-1].append(bar)
        else:
            found.append([bar])
    return [_one(run, what) for run in found]


def _one(run: list[Bar], what: str) -> Bar:
    first, last = run[0], run[-1]
    if len(run) == 1:
        return first
    text = f"{len(run)} {what}"
    return Bar(first.x, round(last.x + last.width - first.x, 3), first.kind, text, text)
