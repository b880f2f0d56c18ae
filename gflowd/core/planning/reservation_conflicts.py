"""Whether a new reservation is compatible with the existing ones: no index twice, never more GPUs than exist.

What counts is the greatest need at one instant, not the sum over a window: two windows that follow each other can use
the same GPUs. A repeating reservation is checked against a single one for as long as that lasts. Repeating ones are
checked against each other for one week of local time, since they repeat every week. That is enough whatever clock
changes there are, because windows that do not overlap in local time do not overlap at all (see `reservations`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gflowd.core.errors import Refused
from gflowd.core.planning.reservations import DAY, PERIODS, Reservation, Window, windows
from gflowd.core.syntax import clocks, durations
from gflowd.core.syntax.clocks import Clock
from gflowd.core.syntax.plurals import count, noun
from gflowd.core.syntax.wall_clock import on_the_wall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import tzinfo

WEEK = 7 * DAY
FURTHEST = 5 * 365 * DAY  # seconds: a later end is a mistake, and every window until then may have to be checked
_PERIOD = {"daily": "day", "weekly": "week"}


def check(new: Reservation, machine_gpus: int | None, now: float) -> None:
    """Raises `Refused` for an invalid reservation, or one that the machine's GPUs (None: unknown) cannot satisfy."""
    asked = new.gpus if new.gpu_list is None else len(new.gpu_list)
    if not asked:
        raise Refused("a reservation needs at least one GPU")
    if new.duration <= 0:
        raise Refused("a reservation needs a duration of more than zero")
    if new.start < now:
        raise Refused("the start is in the past")
    if new.start + new.duration > now + FURTHEST:
        raise Refused("a reservation must end within five years")
    if new.repeat is not None and new.duration > PERIODS[new.repeat] * DAY:
        raise Refused(f"a {new.repeat} reservation cannot last longer than a {_PERIOD[new.repeat]}")
    if machine_gpus is not None:
        unknown = [index for index in new.gpu_list or () if index >= machine_gpus]
        if unknown:
            has = f"{machine_gpus or 'no'} {noun(machine_gpus, 'GPU')}"
            raise Refused(f"there is no GPU {unknown[0]}; this machine has {has}")
        if asked > machine_gpus:
            raise Refused(f"{count(asked, 'GPU')} asked for, but this machine has {machine_gpus or 'none'}")


def conflict(
    new: Reservation,
    existing: Iterable[Reservation],
    machine_gpus: int | None,
    since: float,
    zone: tzinfo | None = None,
    clock: Clock | None = None,
) -> str | None:
    """Why `new` conflicts with the `existing` from `since` on, naming the reservation; None if it does not.

    If `machine_gpus` is None (not known), only indices are compared. Reservations repeat in `zone`; `clock`, by default
    that of `zone`, prints times.
    """
    tell = partial(describe, zone=zone, clock=Clock(zone) if clock is None else clock)
    standing = {each.id: each for each in existing if each.cancelled_at is None and each.id != new.id}
    every = [*standing.values(), new]
    for one in [new] if new.repeat is None else standing.values():
        if one.repeat is None and one.start + one.duration > since:
            during = windows(every, max(one.start, since), one.start + one.duration, zone)
            if clash := _clash(new, during, standing, machine_gpus, tell):
                return clash
    if new.repeat is None:
        return None
    return _clash(new, [span for each in every for span in _week(each, zone)], standing, machine_gpus, tell)


def _clash(
    new: Reservation,
    during: Iterable[Window],
    standing: dict[int, Reservation],
    machine_gpus: int | None,
    tell: Callable[[Reservation], str],
) -> str | None:
    """The first instant at which `new` is too much, in words."""
    spans = list(during)
    events = sorted([(span.end, 0, place) for place, span in enumerate(spans)]
                    + [(span.start, 1, place) for place, span in enumerate(spans)])  # fmt: skip
    active: dict[int, Window] = {}
    for _, begins, place in events:
        if not begins:
            del active[place]
            continue
        active[place] = spans[place]
        now = active.values()
        if any(span.id == new.id for span in now) and (words := _too_much(new, now, standing, machine_gpus, tell)):
            return words
    return None


def _too_much(
    new: Reservation,
    now: Iterable[Window],
    standing: dict[int, Reservation],
    machine_gpus: int | None,
    tell: Callable[[Reservation], str],
) -> str | None:
    """The conflict at an instant at which `new` and the other windows of `now` are active."""
    others = [standing[span.id] for span in now if span.id != new.id]
    for other in others:
        if twice := set(new.gpu_list or ()).intersection(other.gpu_list or ()):
            return f"GPU {min(twice)} is reserved at that time by {tell(other)}"
    everyone = [new, *others]
    need = sum(each.gpus for each in everyone) + len({index for each in everyone for index in each.gpu_list or ()})
    if machine_gpus is None or need <= machine_gpus:
        return None
    named = " and ".join(tell(other) for other in others)
    return f"with {named} {count(need, 'GPU')} would be reserved at a time; this machine has {machine_gpus or 'none'}"


def _week(reservation: Reservation, zone: tzinfo | None) -> list[Window]:
    """The windows of a repeating reservation in any week, in seconds since its Monday 0:00 on the wall."""
    if reservation.repeat is None:
        return []
    first = on_the_wall(reservation.start, zone)
    monday = first.replace(hour=0, minute=0, second=0, microsecond=0)
    begin = first.weekday() * DAY + (first - monday).total_seconds()
    period = PERIODS[reservation.repeat] * DAY
    starts = [(begin + number * period) % WEEK for number in range(WEEK // period)]
    found = []
    for start in starts:
        end = start + reservation.duration
        for part, until in ((start, min(end, WEEK)), (0.0, end - WEEK)):
            if part < until:
                found.append(Window(id=reservation.id, user="", start=part, end=until,
                                    gpus=reservation.gpus, gpu_list=reservation.gpu_list))  # fmt: skip
    return found


def describe(reservation: Reservation, zone: tzinfo | None, clock: Clock) -> str:
    """`reservation 3 (ada, 2025-01-31 18:30 for 2:00:00)`, `reservation 4 (ada, daily 9:00 for 8:00:00)`."""
    if reservation.repeat is None:
        shown = clock.show(reservation.start, clocks.MINUTE)
    else:
        form = {"daily": "daily %H:%M", "weekly": "%A %H:%M weekly"}[reservation.repeat]
        shown = on_the_wall(reservation.start, zone).strftime(form) + clock.other(zone)
    return f"reservation {reservation.id} ({reservation.user}, {shown} for {durations.clock(reservation.duration)})"
