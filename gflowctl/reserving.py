"""Reservations as `gflowctl reserve` shows them."""

from __future__ import annotations

from gflowctl import render
from gflowd.core import durations, instants, ranges, reservations
from gflowd.core.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import tzinfo
    from typing import Any

    from gflowctl.context import Context
    from gflowd.core.reservations import Reservation, Window

COLORS = {
    reservations.ACTIVE: render.GREEN, reservations.PENDING: render.CYAN, reservations.COMPLETED: render.DIM,
    reservations.CANCELLED: render.DIM,
}  # fmt: skip


def zone(context: Context) -> tzinfo | None:
    """The time zone by which reservations repeat."""
    return instants.zone(context.settings["timezone"])


def every(context: Context) -> list[Reservation]:
    """All that are in the snapshot, by id."""
    return reservations.decode_all(context.store.read().of(reservations.KIND))


def find(found: Iterable[Reservation], number: int) -> Reservation:
    """The one with this id. Raises `Refused` when there is none."""
    for each in found:
        if each.id == number:
            return each
    raise Refused(f"no reservation {number}")


def _window(one: Reservation, now: float, tz: tzinfo | None) -> Window | None:
    """Its window now, or else its next."""
    return next(iter(reservations.upcoming([one], now, tz)), None)


def record(one: Reservation, now: float, tz: tzinfo | None) -> dict[str, Any]:
    """The object of `--json`; `window` is the present or the next one, null when there is none to come."""
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
    """One line each; START and END are of the window now or next, of what is over those it began with."""
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
    """All that is known of it, by key."""
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


def _shown(at: float, tz: tzinfo | None) -> str:
    return reservations.on_the_wall(at, tz).isoformat(timespec="seconds")
