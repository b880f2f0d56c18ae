"""What was measured, by row and peer, and where it was; plain enough to be kept as JSON. Measures nothing."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Results:
    """Values in seconds, megabytes, shares of a core or jobs a second, as the row's key says; sentences where none."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, list[float]]] = {}
        self.notes: dict[str, dict[str, str]] = {}
        self.versions: dict[str, str] = {}  # by peer, in the order of the columns
        self.jobs: dict[str, dict[str, int]] = {}  # by part of the work and peer
        self.skipped: dict[str, str] = {}
        self.machine: dict[str, str] = {}

    def add(self, row: str, peer: str, value: float) -> None:
        self.values.setdefault(row, {}).setdefault(peer, []).append(value)

    def note(self, row: str, peer: str, sentence: str) -> None:
        self.notes.setdefault(row, {})[peer] = sentence

    def median(self, row: str, peer: str) -> float | None:
        found = self.values.get(row, {}).get(peer)
        return statistics.median(found) if found else None

    def ratio(self, row: str, mine: str, others: str) -> float | None:
        """The median of the first over that of the second."""
        first, second = self.median(row, mine), self.median(row, others)
        return None if first is None or not second else first / second

    def save(self, path: str) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(vars(self), file, indent=1)

    @classmethod
    def load(cls, path: str) -> Results:
        found = cls()
        with open(path, encoding="utf-8") as file:
            vars(found).update(json.load(file))
        return found


def machine() -> dict[str, str]:
    """What must be known of it to judge the figures."""
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = int(file.readline().split()[1]) / 1e6
    return {
        "cores": str(len(os.sched_getaffinity(0))), "processor": _processor(), "memory": f"{memory:.0f} GB",
        "kernel": platform.release(), "python": platform.python_version(), "date": time.strftime("%Y-%m-%d"),
        "load": f"{os.getloadavg()[0]:.1f}",
    }  # fmt: skip


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [row.partition(":")[2].strip() for row in file if row.startswith("model name")]
    return names[0] if names else platform.machine()


def exponent(points: Sequence[tuple[float, float]]) -> float | None:
    """The slope of the straight line that fits best when both axes are logarithmic; None of fewer than two points.

    Points that are not above zero, as when noise is subtracted from noise, say nothing and are left out.
    """
    known = [(math.log(x), math.log(y)) for x, y in points if x > 0 and y > 0]
    if len({x for x, _ in known}) < 2:
        return None
    return statistics.linear_regression(*zip(*known, strict=True)).slope
