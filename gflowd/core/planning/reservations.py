"""Reservations: GPUs kept for a user during time windows. Whether one is active is a function of it and the time.

A repeating one repeats in local time: each window begins and ends at the same time of day, so one with a clock change
in it is an hour shorter or longer. A local time that the change skips means the moment of the change; one that occurs
twice means the first. So a later local time is never an earlier moment, and windows that do not overlap in local time
do not overlap at all.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import islice, takewhile

from gflowd.core.job import codec
from gflowd.core.job.value_base import Value
from gflowd.core.syntax.wall_clock import first_instant, on_the_wall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import tzinfo
    from typing import Any, Final

    Owner = tuple[str, int | None]  # the name of a user, and the id where it is known

PENDING, ACTIVE, COMPLETED, CANCELLED = STATUSES = ("pending", "active", "completed", "cancelled")
DAY = 86400  # seconds, on the wall
PERIODS = {"daily": 1, "weekly": 7}  # days
MOST_EDGES = 16  # each wakes the scheduler, which then posts the next ones


class Reservation(Value):
    """`gpus` counts any GPUs, 0 where `gpu_list` names them; `start` is the first window's, `duration` in seconds.

    `repeat` is None, daily or weekly. `created_by` and `user`, for whom it is, are names of users; `creator_uid` and
    `uid` their ids on a machine of many users, where a name may be given to somebody else. None: not known.
    """

    __slots__ = (
        "cancelled_at", "created_at", "created_by", "creator_uid", "duration", "gpu_list", "gpus", "id", "repeat",
        "start", "uid", "user",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 -- one argument per thing that a reservation says
        self,
        *,
        id: int,  # noqa: A002 -- the field's name
        user: str,
        start: float,
        duration: float,
        created_at: float,
        created_by: str,
        gpus: int = 0,
        gpu_list: tuple[int, ...] | None = None,
        repeat: str | None = None,
        cancelled_at: float | None = None,
        uid: int | None = None,
        creator_uid: int | None = None,
    ) -> None:
        self.id: Final = id
        self.user: Final = user
        self.gpus: Final = gpus
        self.gpu_list: Final = gpu_list
        self.start: Final = start
        self.duration: Final = duration
        self.repeat: Final = repeat
        self.created_at: Final = created_at
        self.created_by: Final = created_by
        self.cancelled_at: Final = cancelled_at
        self.uid: Final = uid
        self.creator_uid: Final = creator_uid


class Window(Value):
    """One occurrence of reservation `id`, from `start` to just before `end`; `again`: there is always another. It is
    for `user`, with the id `uid` if that is known.
    """

    __slots__ = ("again", "end", "gpu_list", "gpus", "id", "start", "uid", "user")

    def __init__(
        self,
        *,
        id: int,  # noqa: A002 -- the field's name
        user: str,
        start: float,
        end: float,
        gpus: int,
        gpu_list: tuple[int, ...] | None,
        again: bool = False,
        uid: int | None = None,
    ) -> None:
        self.id: Final = id
        self.again: Final = again
        self.user: Final = user
        self.start: Final = start
        self.end: Final = end
        self.gpus: Final = gpus
        self.gpu_list: Final = gpu_list
        self.uid: Final = uid

    @property
    def owner(self) -> Owner:
        """For whom it is."""
        return self.user, self.uid

    def is_for(self, owner: Owner) -> bool:
        """Whether it is for them."""
        return is_same(self.owner, owner)


def is_same(one: Owner, other: Owner) -> bool:
    """Whether these are one user: by name, and by id where both are known."""
    return one[0] == other[0] and (one[1] == other[1] or one[1] is None or other[1] is None)


def reserved_now(windows: Iterable[Window], wall: float) -> dict[int, str]:
    """The GPUs that a window which is active at `wall` names, by index, and for whom."""
    return {
        index: window.user for window in windows if window.start <= wall < window.end for index in window.gpu_list or ()
    }


def encode(reservation: Reservation) -> dict[str, Any]:
    """The value of the record; its id is the record's."""
    return {name: field for name, field in codec.encode(reservation).items() if name != "id"}


def decode_all(records: Mapping[int, Mapping[str, Any]]) -> list[Reservation]:
    """The reservations of records by id, in the order of their ids; fields that we do not know are dropped."""
    made = []
    for number, raw in sorted(records.items()):
        known = {name: raw[name] for name in Reservation.__slots__ if name in raw}
        if known.get("gpu_list") is not None:
            known["gpu_list"] = tuple(known["gpu_list"])
        made.append(Reservation(**{**known, "id": number}))
    return made


def windows(reservations: Iterable[Reservation], since: float, until: float, zone: tzinfo | None) -> list[Window]:
    """Every window that overlaps [since, until), which is finite, by start; `zone` None is the machine's local zone.

    Of a cancelled reservation those up to then: the window that was active ends there.
    """
    return _in_order(
        window
        for each in reservations
        for window in takewhile(lambda window: window.start < until, _occurrences(each, since, zone))
    )


def upcoming(reservations: Iterable[Reservation], now: float, zone: tzinfo | None, count: int = 1) -> list[Window]:
    """The current or else the next window of each reservation that is neither over nor cancelled, by start; with a
    greater `count`, this many of each that repeats.
    """
    standing = (each for each in reservations if each.cancelled_at is None)
    return _in_order(window for each in standing for window in islice(_occurrences(each, now, zone), count))


def edges(reservations: Iterable[Reservation], after: float, zone: tzinfo | None) -> list[float]:
    """The next few starts and ends after `after`, ascending."""
    found = {
        edge for window in upcoming(reservations, after, zone) for edge in (window.start, window.end) if edge > after
    }
    return sorted(found)[:MOST_EDGES]


def status(reservation: Reservation, now: float, zone: tzinfo | None = None) -> str:
    """One of `STATUSES`. A repeating one is active during a window and pending between."""
    if reservation.cancelled_at is not None:
        return CANCELLED
    window = next(_occurrences(reservation, now, zone), None)
    if window is None:
        return COMPLETED
    return ACTIVE if window.start <= now else PENDING


def long_over(reservations: Iterable[Reservation], before: float) -> list[Reservation]:
    """Those that were over, or cancelled, before that instant."""
    return [
        each
        for each in reservations
        if (each.cancelled_at is not None and each.cancelled_at < before)
        or (each.repeat is None and each.start + each.duration < before)
    ]


def _in_order(found: Iterable[Window]) -> list[Window]:
    return sorted(found, key=lambda window: (window.start, window.end, window.id))


def _occurrences(reservation: Reservation, since: float, zone: tzinfo | None) -> Iterator[Window]:
    """The windows that end after `since`, by start; without end for a repeating reservation."""
    over = reservation.cancelled_at
    for start, end in _spans(reservation, since, zone):
        if over is not None and start >= over:
            return
        until = end if over is None else min(end, over)
        if start < until and until > since:
            yield Window(
                id=reservation.id,
                user=reservation.user,
                start=start,
                end=until,
                gpus=reservation.gpus,
                gpu_list=reservation.gpu_list,
                again=reservation.repeat is not None and over is None,
                uid=reservation.uid,
            )


def _spans(reservation: Reservation, since: float, zone: tzinfo | None) -> Iterator[tuple[float, float]]:
    """Starts and ends, from some that are over at `since`."""
    start, duration = reservation.start, reservation.duration
    if reservation.repeat is None:
        yield start, start + duration
        return
    days = PERIODS[reservation.repeat]
    first, length = on_the_wall(start, zone), timedelta(seconds=duration)
    # Zones differ by little more than a day, so two periods earlier all is over, whatever clocks were changed.
    passed = max(0, int((since - start - duration) // (days * DAY)) - 2)
    begin = first + timedelta(days=days * passed)
    while True:
        # The first time of an hour that is repeated may be before the start.
        yield max(first_instant(begin, zone), start), first_instant(begin + length, zone)
        begin += timedelta(days=days)
