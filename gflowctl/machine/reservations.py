"""Reservations as `gflowctl reserve` shows them."""

from __future__ import annotations

from gflowctl.output import render
from gflowd.core.errors import Refused
from gflowd.core.job.records import RESERVATION
from gflowd.core.planning import reservations
from gflowd.core.syntax import durations, ranges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import tzinfo
    from typing import Any

    from gflowctl.context import Context
    from gflowd.core.planning.reservations import Reservation, Window
    from gflowd.core.syntax.clocks import Clock

COLORS = {
    reservations.ACTIVE: render.GREEN, reservations.PENDING: render.CYAN, reservations.COMPLETED: render.DIM,
    reservations.CANCELLED: render.DIM,
}  # fmt: skip


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
    """The object of `--json`: `values`, with times in words."""
    found = values(one, now, tz)
    window = found["window"]
    found["window"] = window and {name: render.rfc3339(at) for name, at in window.items()}
    return found | {name: render.rfc3339(found[name]) for name in ("start", "created_at", "cancelled_at")}


def values(one: Reservation, now: float, tz: tzinfo | None) -> dict[str, Any]:
    """All about it by name; `window` is the current or the next one, None if there is none."""
    window = _window(one, now, tz)
    return {
        "id": one.id,
        "user": one.user,
        "status": reservations.status(one, now, tz),
        "gpus": one.gpus or len(one.gpu_list or ()),
        "gpu_list": one.gpu_list,
        "start": one.start,
        "duration": one.duration,
        "repeat": one.repeat,
        "window": window and {"start": window.start, "end": window.end},
        "created_at": one.created_at,
        "created_by": one.created_by,
        "cancelled_at": one.cancelled_at,
    }


def table(found: Iterable[Reservation], now: float, tz: tzinfo | None, clock: Clock, *, color: bool) -> str:
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
    return render.table(columns, [(one, _cells(one, now, tz, clock)) for one in found], color=color, columns_wide=wide)


def _cells(one: Reservation, now: float, tz: tzinfo | None, clock: Clock) -> list[str]:
    window = _window(one, now, tz)
    start, end = (one.start, one.start + one.duration) if window is None else (window.start, window.end)
    return [
        str(one.id),
        one.user,
        str(one.gpus or len(one.gpu_list or ())),
        "any" if one.gpu_list is None else ranges.fold(one.gpu_list),
        _at(start, now, clock),
        _at(end, now, clock),
        one.repeat or "-",
        reservations.status(one, now, tz),
    ]


def _at(at: float, now: float, clock: Clock) -> str:
    """A time, on a terminal as short as its distance allows."""
    return clock.near(at, now) if render.is_terminal() else clock.stamp(at)


def lines(one: Reservation, now: float, tz: tzinfo | None, clock: Clock) -> Iterator[tuple[str, str]]:
    """Everything about it, by key."""
    window = _window(one, now, tz)
    yield "Id", str(one.id)
    yield "User", render.escape(one.user)
    yield "Status", reservations.status(one, now, tz)
    yield "GPUs", f"any {one.gpus}" if one.gpu_list is None else f"index {ranges.fold(one.gpu_list)}"
    yield "Start", clock.stamp(one.start)
    yield "Duration", durations.clock(one.duration)
    if one.repeat is not None:
        yield "Repeat", one.repeat + clock.other(tz)
    if window is not None:
        yield "Now" if window.start <= now else "Next", f"{clock.stamp(window.start)} to {clock.stamp(window.end)}"
    yield "Created", f"{clock.stamp(one.created_at)} by {render.escape(one.created_by)}"
    if one.cancelled_at is not None:
        yield "Cancelled", clock.stamp(one.cancelled_at)


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


def brief(present: Window | None, following: Window | None, now: float, clock: Clock) -> str:
    """`ada until 18:00, bob from Mon 09:00`."""
    said = [] if present is None else [f"{present.user} until {clock.near(present.end, now)}"]
    said += [] if following is None else [f"{following.user} from {clock.near(following.start, now)}"]
    return ", ".join(said)
