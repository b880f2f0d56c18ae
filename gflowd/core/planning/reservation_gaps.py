"""Whether repeating reservations leave a gap that is long enough for a job, and how long it may be. Pure."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from gflowd.core.planning.occupancy import LONGER, WEEK, Occupancy, owner_of

if TYPE_CHECKING:
    from gflowd.core.job.model import Spec

LEAST = 60.0  # seconds: no shorter limit is suggested, and none more precise


def can_ever(room: Occupancy, spec: Spec, length: float) -> bool:
    """Whether there is such a gap for `length` seconds, once everything else in `room` has ended."""
    coming = [each for each in room.windows if each.again and not each.is_for(owner_of(spec))]
    if not coming or not spec.gpus:
        return True
    every = [device.index for device in room.capacity.gpus or ()]
    empty = Occupancy(room.capacity, every, room.now, coming)
    last = min(room.now + 2 * WEEK, room.horizon - LONGER)
    times = [room.now, *(each.end for each in coming if room.now < each.end <= last)]
    return any(empty.fits(spec, at, at + min(length, LONGER)) for at in times)


def longest(room: Occupancy, spec: Spec) -> float | None:
    """The longest duration in seconds that fits into such a gap; None if any does, or none."""
    if can_ever(room, spec, inf if spec.time_limit is None else spec.time_limit):
        return None
    low, high = LEAST, LONGER
    if not can_ever(room, spec.replace(time_limit=low), low):
        return None
    while high - low > LEAST:
        middle = (low + high) / 2
        if can_ever(room, spec.replace(time_limit=middle), middle):
            low = middle
        else:
            high = middle
    return low - low % LEAST
