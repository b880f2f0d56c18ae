"""Load and memory of the GPUs as they were: what the page itself saw while it ran, kept in memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowd.storage.observed_reader import SeenGpu

KEPT = 86400.0  # seconds
APART = 10.0  # seconds between two samples that are kept
GAP = 60.0  # seconds without a sample: nothing is known of the time between


@dataclass(frozen=True, slots=True)
class Sample:
    """Shares from 0 to 1; `load` is None where the driver does not tell."""

    at: float
    load: float | None
    memory: float


class GpuSamples:
    """Samples by index, the oldest first. Mutable."""

    def __init__(self, since: float) -> None:
        self.since = since
        self._of: dict[int, deque[Sample]] = {}

    def take(self, at: float, gpus: Sequence[SeenGpu]) -> None:
        """Keeps what the daemon saw at `at`, at most one sample in `APART` seconds."""
        for gpu in gpus:
            kept = self._of.setdefault(gpu.index, deque())
            if kept and at - kept[-1].at < APART:
                continue
            load = None if gpu.utilisation is None else gpu.utilisation / 100
            kept.append(Sample(at, load, gpu.used_mb / gpu.memory_mb if gpu.memory_mb else 0.0))
            while kept[0].at < at - KEPT:
                kept.popleft()

    def of(self, index: int, since: float) -> list[Sample]:
        """Those of a GPU that are not older than `since`."""
        return [each for each in self._of.get(index, ()) if each.at >= since]


def runs(samples: Sequence[Sample]) -> list[list[Sample]]:
    """`samples` in stretches without a gap."""
    found: list[list[Sample]] = []
    for sample in samples:
        if not found or sample.at - found[-1][-1].at > GAP:
            found.append([])
        found[-1].append(sample)
    return found
