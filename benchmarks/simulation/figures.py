"""The figures of a replay: waits, slowdowns, fairness, use of the machine, promises. Pure.

- A wait is the time between submission and start. Wide jobs need at least half of the GPUs.
- The bounded slowdown of a job is (wait + run time) / run time, where no run time counts as less than `TAU` and none
  is below 1 (D. Feitelson and others, Theory and practice in parallel job scheduling, JSSPP 1997).
- Fairness is told in two ways. `jain`: Jain's index (R. Jain and others, DEC-TR-301, 1984) over the users, of how fast
  each one's jobs are served, x = the mean of 1 / bounded slowdown: (sum x)^2 / (n * sum x^2). 1: all are served alike;
  1/n: only one of n is. `spread`: the standard deviation of the users' mean bounded slowdowns over their mean. The
  first hears who is kept waiting, whether by much or by more; the second is ruled by the worst treated.
- Utilisation is the part of the GPUs' time in use between the first and the last submission.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from statistics import fmean, pstdev

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from simulation.replay import Kept, Outcome
    from simulation.workload import Job

TAU = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Figures:
    """Waits in seconds, None where there is no such job; `by_width` as "1", "2", "3-4", "5-8"."""

    jobs: int
    mean_wait: float
    p95_wait: float
    longest_wait: float
    slowdown: float
    by_width: Mapping[str, float | None]
    wide_wait: float | None
    utilisation: float
    jain: float
    spread: float
    promises: Kept
    estimates: Kept


def figures(jobs: Sequence[Job], gpus: int, outcome: Outcome) -> Figures:
    """What came of the jobs on a machine with so many GPUs."""
    waits = outcome.waits
    slowdowns = [bounded_slowdown(job, wait) for job, wait in zip(jobs, waits, strict=True)]
    by_user = _by_user(jobs, slowdowns)
    return Figures(
        jobs=len(jobs),
        mean_wait=fmean(waits),
        p95_wait=percentile(waits, 0.95),
        longest_wait=max(waits),
        slowdown=fmean(slowdowns),
        by_width={name: _mean_wait(jobs, waits, low, high) for name, low, high in widths(gpus)},
        wide_wait=_mean_wait(jobs, waits, ceil(gpus / 2), gpus),
        utilisation=outcome.utilisation,
        jain=jain([fmean(1 / each for each in theirs) for theirs in by_user]),
        spread=pstdev(map(fmean, by_user)) / fmean(map(fmean, by_user)),
        promises=outcome.promises,
        estimates=outcome.estimates,
    )


def bounded_slowdown(job: Job, wait: float) -> float:
    return max(1.0, (wait + job.runs) / max(job.runs, TAU))


def percentile(values: Sequence[float], part: float) -> float:
    """The least value that so large a part of them does not exceed."""
    return sorted(values)[ceil(part * len(values)) - 1]


def jain(values: Sequence[float]) -> float:
    """Jain's index of fairness."""
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values))


def _by_user(jobs: Sequence[Job], values: Sequence[float]) -> list[list[float]]:
    """The values of each user's jobs."""
    found: dict[str, list[float]] = {}
    for job, value in zip(jobs, values, strict=True):
        found.setdefault(job.user, []).append(value)
    return list(found.values())


def widths(gpus: int) -> Iterator[tuple[str, int, int]]:
    """The classes of jobs by their GPUs, up to so many: name, least and most; each goes to twice the one before."""
    low = high = 1
    while low <= gpus:
        high = min(high, gpus)
        yield str(low) if low == high else f"{low}-{high}", low, high
        low, high = high + 1, 2 * high


def _mean_wait(jobs: Sequence[Job], waits: Sequence[float], low: int, high: int) -> float | None:
    found = [wait for job, wait in zip(jobs, waits, strict=True) if low <= job.gpus <= high]
    return fmean(found) if found else None
