"""The reservations: as bars over time, and as a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowctl.web.chart import THINNEST, Bar, Scale
from gflowctl.web.pages.frame import Page, Query, one
from gflowd.core.job.records import RESERVATION
from gflowd.core.planning import reservations
from gflowd.core.syntax import durations, ranges

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gflowctl.view.views import View
    from gflowd.core.planning.reservations import Reservation, Window

RANGES = {"1d": 86400, "7d": 7 * 86400, "28d": 28 * 86400}
USUAL = "7d"
PAST = 1 / 12  # part of the range that is shown before now
MOST = 500  # windows that are drawn, and reservations that are listed
FRAGMENTS = ("reservations",)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the list."""

    id: int
    user: str
    gpus: str
    window: str
    repeat: str
    status: str
    by: str


def build(view: View, query: Query) -> Page:
    """`range`: how far ahead; `all`: also those that are over."""
    chosen = one(query, "range") if one(query, "range") in RANGES else USUAL
    seconds, now, zone, clock = RANGES[chosen], view.now, view.context.calendar, view.clock
    scale = Scale(now - seconds * PAST, now + seconds)
    every = reservations.decode_all(view.records.of(RESERVATION))
    windows = reservations.windows(every, scale.begin, scale.end, zone)[:MOST]
    known = {each.id: each for each in every}
    rows: dict[tuple[int, int, str], list[Bar]] = {}
    for window in windows:
        bar = _bar(view, scale, window)
        if window.gpu_list is None:
            rows.setdefault((1, window.id, f"any {window.gpus}"), []).append(bar)
        for index in window.gpu_list or ():
            rows.setdefault((0, index, f"GPU {index}"), []).append(bar)
    shows_all = bool(one(query, "all"))
    over = (reservations.COMPLETED, reservations.CANCELLED)
    listed = [each for each in known.values() if shows_all or reservations.status(each, now, zone) not in over]
    values = {
        "rows": [(key[2], rows[key]) for key in sorted(rows)], "axis": scale.axis(clock), "now": scale.x(now),
        "ranges": list(RANGES), "range": chosen, "entries": list(_entries(view, listed[-MOST:])),
        "over": len(known) - len(listed), "shows_all": shows_all, "total": len(known),
    }  # fmt: skip
    return Page("reservations", "Reservations", "reservations", values, FRAGMENTS)


def _bar(view: View, scale: Scale, window: Window) -> Bar:
    x, now = scale.x(window.start), view.now
    kind = "past" if window.end <= now else "active" if window.start <= now else "coming"
    start, end = (view.clock.near(at, now) for at in (window.start, window.end))
    width = max(THINNEST, round(scale.x(window.end) - x, 3))
    title = f"reservation {window.id} for {window.user}, {start} to {end}, {kind}"
    return Bar(x, width, f"w-{kind}", f"{window.id} {window.user}", title)


def _entries(view: View, found: Iterable[Reservation]) -> Iterable[Entry]:
    now, zone, clock = view.now, view.context.calendar, view.clock
    for each in found:
        window = next(iter(reservations.upcoming([each], now, zone)), None)
        start, end = (each.start, each.start + each.duration) if window is None else (window.start, window.end)
        gpus = f"any {each.gpus}" if each.gpu_list is None else f"GPU {ranges.fold(each.gpu_list)}"
        when = f"{clock.near(start, now)} to {clock.near(end, now)} ({durations.clock(end - start)})"
        again = f"{each.repeat}{clock.other(zone)}" if each.repeat else ""
        yield Entry(each.id, each.user, gpus, when, again, reservations.status(each, now, zone), each.created_by)
