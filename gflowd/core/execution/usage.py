"""What an attempt used, by three witnesses: what `job.sh` noted at its end, what was sampled while it lived, and the
polls of its GPUs. Pure.

A control group counts all of it, its file cache too; the shell knows the CPU time of what was waited for; a sample is
a floor, since nobody saw what was between two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING

from gflowd.core.job.model import CGROUP, LARGEST_COUNT, SAMPLES, SHELL, Used
from gflowd.core.job.value_base import Posted

if TYPE_CHECKING:
    from collections.abc import Mapping

Key = tuple[int, int]  # id and attempt

MIB = 1 << 20
GRAIN = 0.1  # seconds by which a sample, which counts in ticks, may exceed what the shell knows
EVERY, SOONEST = 5.0, 0.25  # seconds between two samples of an attempt, and at its beginning
_TIMES = re.compile(r"([0-9]{1,9})m([0-9]{1,3}(?:[.,][0-9]{1,9})?)s ([0-9]{1,9})m([0-9]{1,3}(?:[.,][0-9]{1,9})?)s")
_COUNTED = re.compile(r"(peak|cpu) ([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Noted(Posted):
    """What `job.sh` noted: bytes and seconds of its control group, where it has one; the CPU time of its children."""

    peak: int | None = None
    cpu: float | None = None
    children: float | None = None


@dataclass(frozen=True, slots=True)
class Sample(Posted):
    """The most that was seen of an attempt: bytes, and seconds of CPU time."""

    memory: int
    cpu: float

    def with_another(self, memory: int, cpu: float) -> Sample:
        """The most of both."""
        return Sample(max(self.memory, memory), max(self.cpu, cpu))


@dataclass(frozen=True, slots=True)
class Samples:
    """What was sampled of each live attempt so far."""

    of_attempts: Mapping[Key, Sample] = field(default_factory=dict)


def noted(text: str) -> Noted:
    """What `job.sh` wrote at the end: two lines of times(1), and those of its control group."""
    times = [match.groups() for line in text.splitlines() if (match := _TIMES.fullmatch(line))]
    counted = {match[1]: int(match[2]) for line in text.splitlines() if (match := _COUNTED.fullmatch(line))}
    children = None
    if len(times) == 2:
        user_minutes, user, system_minutes, system = (float(each.replace(",", ".")) for each in times[1])
        children = 60 * (user_minutes + system_minutes) + user + system
    return Noted(counted.get("peak"), counted["cpu"] / 1e6 if "cpu" in counted else None, children)


def interval(age: float) -> float:
    """After how many seconds to take the next sample of an attempt of this age."""
    return min(EVERY, max(SOONEST, age / 2))


def used(at_end: Noted | None, sample: Sample | None, percent: float | None = None, polls: int = 0) -> Used | None:
    """What is known of an attempt, whose GPUs were busy for `percent` of `polls` on average; None for nothing."""
    found: dict[str, object] = {}
    at_end = at_end or Noted()
    memory = at_end.peak if at_end.peak is not None else None if sample is None else sample.memory
    if memory:
        found["memory_mb"] = min(ceil(memory / MIB), LARGEST_COUNT)
        found["memory_source"] = SAMPLES if at_end.peak is None else CGROUP
    cpu, source = _cpu(at_end, sample)
    if cpu is not None:
        found |= {"cpu_seconds": round(cpu, 3), "cpu_source": source}
    if percent is not None:
        found |= {"gpu_percent": round(percent, 1), "gpu_polls": polls}
    return Used(**found) if found else None  # type: ignore[arg-type]


def _cpu(at_end: Noted, sample: Sample | None) -> tuple[float | None, str]:
    if at_end.cpu is not None:
        return at_end.cpu, CGROUP
    if sample is not None and sample.cpu > (at_end.children or 0.0) + GRAIN:
        return sample.cpu, SAMPLES
    if at_end.children is None:
        return None if sample is None else sample.cpu, SAMPLES
    return at_end.children, SHELL
