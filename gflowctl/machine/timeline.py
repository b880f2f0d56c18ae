"""Draws reservations over time: a row for each GPU reserved by index, and for each reservation of any GPUs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from operator import itemgetter

from gflowctl.output import render
from gflowd.core.planning import reservations
from gflowd.core.syntax import ranges
from gflowd.core.syntax.wall_clock import on_the_wall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import tzinfo

    from gflowd.core.planning.reservations import Reservation, Window
    from gflowd.core.syntax.clocks import Clock

PIPED = 80  # columns
NARROWEST = 20  # columns of the picture itself
PAST = 1 / 12  # part of the range that is shown before now
APART = 8  # columns from one mark of the axis to the next, at least
MINUTE, HOUR, DAY = 60, 3600, 86400
STEPS = (
    5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR,
    DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY, 91 * DAY, 182 * DAY, 364 * DAY,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Signs:
    """The characters and colours of a picture."""

    first: str
    fill: str
    last: str
    alone: str
    line: str
    now: str


PAST_COLOR, NOW_COLOR, COMING_COLOR = render.DIM, render.GREEN, render.CYAN
COLORS = {PAST_COLOR: "past", NOW_COLOR: "now", COMING_COLOR: "coming"}
BLOCKS, ASCII = Signs(*"▐█▌█│▲"), Signs(*"[=]#|^")


@dataclass(frozen=True, slots=True)
class Scale:
    """From instants to columns."""

    begin: float
    end: float
    columns: int

    def column(self, at: float) -> int:
        """The column of an instant, which may be outside."""
        return int((at - self.begin) * self.columns // (self.end - self.begin))


def draw(
    found: Iterable[Reservation], now: float, ahead: float, zone: tzinfo | None, clock: Clock, *, color: bool
) -> str:
    """The windows from a little before `now` until `ahead` seconds after it, as wide as the terminal; below them what
    they are, by the numbers that the bars have. `zone` is that in which they repeat.
    """
    begin, end = now - ahead * PAST, now + ahead
    known = {one.id: one for one in found}
    windows = list(reservations.windows(known.values(), begin, end, zone))
    rows = _rows(windows)
    label = max(map(len, rows), default=0)
    wide = render.terminal_columns() if render.is_terminal() else PIPED
    scale = Scale(begin, end, max(NARROWEST, wide - label - 2))
    signs = BLOCKS if render.draws_blocks() else ASCII
    margin = " " * (label + 1)
    lines = [f"{clock.near(begin, now)} to {clock.near(end, now)}", margin + _axis(scale, clock.zone)]
    lines += [f"{name:<{label}} {_row(row, now, scale, signs, color=color)}" for name, row in rows.items()]
    lines += [] if rows else ["nothing is reserved"]
    lines.append(margin + " " * scale.column(now) + f"{signs.now} now")
    entry = partial(_entry, known, now, zone, clock)
    picture = "".join(f"{line.rstrip()}\n" for line in lines)
    return picture + _legend(windows, entry, now, signs, wide, color=color) if rows else picture


def _legend(
    windows: Iterable[Window], entry: Callable[[Window], list[str]], now: float, signs: Signs, wide: int, *, color: bool
) -> str:
    """What the colours or else the signs mean, and whose each reservation is, with the window of those in the picture
    that is now, or comes next, or was last.
    """
    shown: dict[int, Window] = {}
    for window in windows:
        if window.id not in shown or shown[window.id].end <= now:
            shown[window.id] = window
    columns = [
        render.Column("ID", right=True, color=lambda window: _color(window, now)),
        render.Column("USER", flexible=True),
        render.Column("GPUS", wraps=True),
        render.Column("WINDOW", wraps=True),
    ]
    rows = [(shown[number], entry(shown[number])) for number in sorted(shown)]
    bar = signs.first + signs.fill + signs.last
    if color:
        parts = [render.paint(bar, paint, on=True) + f" {said}" for paint, said in COLORS.items()]
    else:
        parts = [f"{bar} reserved", f"{signs.alone} reserved briefly"]
    return f"\n{'   '.join(parts)}\n\n{render.table(columns, rows, color=color, columns_wide=wide)}"


def _entry(
    known: Mapping[int, Reservation], now: float, zone: tzinfo | None, clock: Clock, window: Window
) -> list[str]:
    one = known[window.id]
    start, end = (clock.near(at, now) for at in (window.start, window.end))
    gpus = f"any {one.gpus}" if one.gpu_list is None else ranges.fold(one.gpu_list)
    again = f", {one.repeat}{clock.other(zone)}" if one.repeat else ""
    return [str(one.id), one.user, gpus, f"{start} to {end}{again}"]


def _color(window: Window, now: float) -> str:
    return PAST_COLOR if window.end <= now else NOW_COLOR if window.start <= now else COMING_COLOR


def _rows(found: Iterable[Window]) -> dict[str, list[Window]]:
    """The windows by the label of their row, GPUs first."""
    rows: dict[tuple[int, int, str], list[Window]] = {}
    for window in found:
        if window.gpu_list is None:
            rows.setdefault((1, window.id, f"{window.id}: any {window.gpus}"), []).append(window)
        for index in window.gpu_list or ():
            rows.setdefault((0, index, f"GPU {index}"), []).append(window)
    return {key[2]: rows[key] for key in sorted(rows)}


def _row(row: Iterable[Window], now: float, scale: Scale, signs: Signs, *, color: bool) -> str:
    cells = [("", " ")] * scale.columns
    cells[scale.column(now)] = ("", signs.line)
    for window in row:
        first, last = max(-1, scale.column(window.start)), min(scale.columns + 1, scale.column(window.end))
        bar = _bar(max(1, last - first), f"{window.id} {window.user}", signs)
        paint = _color(window, now)
        for place, sign in enumerate(bar, first):
            if 0 <= place < scale.columns:
                cells[place] = (PAST_COLOR if place < scale.column(now) else paint, sign)
    runs = groupby(cells, key=itemgetter(0))
    return "".join(render.paint("".join(sign for _, sign in run), paint, on=color) for paint, run in runs)


def _bar(length: int, text: str, signs: Signs) -> str:
    """A bar with as much of the text as fits."""
    if length == 1:
        return signs.alone
    room = length - 2
    words = (text, text.partition(" ")[0])
    said = next((word for word in words if len(word) + 2 <= room and word.isascii()), "")
    return signs.first + (f" {said} " if said else "").center(room, signs.fill) + signs.last


def _axis(scale: Scale, zone: tzinfo | None) -> str:
    """Times of day, at midnight the date."""
    line = ""
    for at, wall in marks(scale.begin, scale.end, (scale.end - scale.begin) / scale.columns * APART, zone):
        place = scale.column(at)
        mark = wall.strftime("%m-%d" if (wall.hour, wall.minute) == (0, 0) else "%H:%M")
        if len(line) < place + bool(not line) and place + len(mark) <= scale.columns:
            line = line.ljust(place) + mark
    return line


def marks(begin: float, end: float, apart: float, zone: tzinfo | None) -> Iterator[tuple[float, datetime]]:
    """The instants to name on an axis, with what the clock shows then; at least `apart` seconds from one another."""
    step = timedelta(seconds=next((each for each in STEPS if each >= apart), STEPS[-1]))
    wall = on_the_wall(begin, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    while (at := wall.replace(tzinfo=zone).timestamp()) < end:
        if at >= begin:
            yield at, wall
        wall += step
