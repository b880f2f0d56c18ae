"""Reservations as `gflowctl reserve` shows them."""

from __future__ import annotations

from gflowctl.output import render
from gflowd.core.errors import Refused
from gflowd.core.job.records import RESERVATION
from gflowd.core.planning import reservations
from gflowd.core.syntax import durations, instants, ranges
from gflowd.core.syntax.wall_clock import on_the_wall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import tzinfo
    from typing import Any

    from gflowctl.context import Context
    from gflowd.core.planning.reservations import Reservation, Window

COLORS = {
    reservations.ACTIVE: render.GREEN, reservations.PENDING: render.CYAN, reservations.COMPLETED: render.DIM,
    reservations.CANCELLED: render.DIM,
}  # fmt: skip

WEEK = 7  # days


def zone(context: Context) -> tzinfo | None:
    """The time zone in which reservations repeat."""
    return instants.zone(context.settings["timezone"])


def every(context: Context) -> list[Reservation]:
    """All that are in the snapshot, by id."""
    return reservations.decode_all(context.store.read().of(RESERVATION))


def find(found: Iterable[Reservation], number: int) -> Reservation:
    """The one with this id. Raises `Refused` if there is none."""
    for each in found:
        if each.id == number:
            return each
    raise Refused(f"no reservation {number}")


def _window(one: Reservation, now: float, tz: tzinfo | None) -> Window | None:
    """Its current window, or else its next."""
    return next(iter(reservations.upcoming([one], now, tz)), None)


def record(one: Reservation, now: float, tz: tzinfo | None) -> dict[str, Any]:
    """The object of `--json`; `window` is the current or the next one, null if there is none."""
    window = _window(one, now, tz)
    return {
        "id": one.id,
        "user": one.user,
        "status": reservations.status(one, now, tz),
        "gpus": one.gpus or len(one.gpu_list or ()),
        "gpu_list": one.gpu_list,
        "start": render.rfc3339(one.start),
        "duration": one.duration,
        "repeat": one.repeat,
        "window": window and {"start": render.rfc3339(window.start), "end": render.rfc3339(window.end)},
        "created_at": render.rfc3339(one.created_at),
        "created_by": one.created_by,
        "cancelled_at": render.rfc3339(one.cancelled_at),
    }


def table(found: Iterable[Reservation], now: float, tz: tzinfo | None, *, color: bool) -> str:
    """One line each; START and END are those of the current or next window, or of the first one if all are over."""
    columns = [
        render.Column("ID", right=True),
        render.Column("USER", flexible=True),
        render.Column("GPUS", right=True),
        render.Column("INDICES", flexible=True),
        render.Column("START"),
        render.Column("END"),
        render.Column("REPEAT"),
        render.Column("STATUS", color=lambda one: COLORS[reservations.status(one, now, tz)]),
    ]
    wide = render.terminal_columns() if render.is_terminal() else 0
    return render.table(columns, [(one, _cells(one, now, tz)) for one in found], color=color, columns_wide=wide)


def _cells(one: Reservation, now: float, tz: tzinfo | None) -> list[str]:
    window = _window(one, now, tz)
    start, end = (one.start, one.start + one.duration) if window is None else (window.start, window.end)
    return [
        str(one.id),
        one.user,
        str(one.gpus or len(one.gpu_list or ())),
        "any" if one.gpu_list is None else ranges.fold(one.gpu_list),
        _shown(start, tz),
        _shown(end, tz),
        one.repeat or "-",
        reservations.status(one, now, tz),
    ]


def lines(one: Reservation, now: float, tz: tzinfo | None) -> Iterator[tuple[str, str]]:
    """Everything about it, by key."""
    window = _window(one, now, tz)
    yield "Id", str(one.id)
    yield "User", render.escape(one.user)
    yield "Status", reservations.status(one, now, tz)
    yield "GPUs", f"any {one.gpus}" if one.gpu_list is None else f"index {ranges.fold(one.gpu_list)}"
    yield "Start", _shown(one.start, tz)
    yield "Duration", durations.clock(one.duration)
    if one.repeat is not None:
        yield "Repeat", one.repeat
    if window is not None:
        yield "Now" if window.start <= now else "Next", f"{_shown(window.start, tz)} to {_shown(window.end, tz)}"
    yield "Created", f"{_shown(one.created_at, tz)} by {render.escape(one.created_by)}"
    if one.cancelled_at is not None:
        yield "Cancelled", _shown(one.cancelled_at, tz)


def by_gpu(
    found: Iterable[Reservation], now: float, tz: tzinfo | None
) -> dict[int, tuple[Window | None, Window | None]]:
    """For each GPU that is reserved by index, the window that is active at `now` and the next one."""
    kept: dict[int, tuple[Window | None, Window | None]] = {}
    for window in reservations.upcoming(found, now, tz, count=2):  # a repeating one may follow itself
        for index in window.gpu_list or ():
            present, following = kept.get(index, (None, None))
            kept[index] = (window, following) if window.start <= now else (present, following or window)
    return kept


def brief(present: Window | None, following: Window | None, now: float, tz: tzinfo | None) -> str:
    """`ada until 18:00, bob from Mon 09:00`."""
    said = [] if present is None else [f"{present.user} until {near(present.end, now, tz)}"]
    said += [] if following is None else [f"{following.user} from {near(following.start, now, tz)}"]
    return ", ".join(said)


def near(at: float, now: float, tz: tzinfo | None) -> str:
    """An instant to the minute, shorter if it is near: `18:00`, `Mon 09:00`, `2025-01-31 09:00`."""
    wall = on_the_wall(at, tz)
    days = (wall.date() - on_the_wall(now, tz).date()).days
    return wall.strftime("%H:%M" if days == 0 else "%a %H:%M" if 0 < days < WEEK else "%Y-%m-%d %H:%M")


def _shown(at: float, tz: tzinfo | None) -> str:
    return on_the_wall(at, tz).isoformat(timespec="seconds")
