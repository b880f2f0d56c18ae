"""The current time, passed as an argument: the core and the workers' ticks never read a clock."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """`wall` in seconds since the epoch; `mono` in seconds of the monotonic clock of `boot` (a boot id)."""

    wall: float
    mono: float
    boot: str
