"""How long something took that the scheduler does again and again, since it started. Mutable, and cheap."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds


class Meter:
    """A histogram: how many took as long as each of `BOUNDS` but not as the one before, then how many took longer."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0  # seconds

    def note(self, seconds: float) -> None:
        """Once more."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


@dataclass(frozen=True, slots=True)
class Meters:
    """The scheduler's: decisions on all jobs, commits with the wait for the lock, and writing these to the disk."""

    decision: Meter = field(default_factory=Meter)
    commit: Meter = field(default_factory=Meter)
    sync: Meter = field(default_factory=Meter)

    def fields(self) -> dict[str, Any]:
        """As JSON has them."""
        meters = (("decision", self.decision), ("commit", self.commit), ("sync", self.sync))
        return {name: {"counts": list(meter.counts), "total": meter.total} for name, meter in meters}
