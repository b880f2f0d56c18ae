"""EASY backfilling (D. Lifka, The ANL/IBM SP scheduling system, 1995): first come, first served, but what lies behind
the first job that cannot start may start if that one, by the limits, starts no later for it.

One reservation, for the head of the queue. A job without a limit counts as one of `policy.SUPPOSED` seconds.
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from heapq import heappop, heappush

from simulation.policy import OVERDUE, Told, supposed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from simulation.workload import Job


class Waiting:
    """Jobs that wait, in order of submission; mutable."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[int, Job] = OrderedDict()
        self._shortest: list[tuple[float, int]] = []  # a heap, with jobs that are gone by now

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Job) -> None:
        self._jobs[job.id] = job
        heappush(self._shortest, (supposed(job), job.id))

    def drop(self, job: Job) -> None:
        del self._jobs[job.id]

    def first(self, within: float | None = None) -> Job | None:
        """The first, or the first that takes at most so many seconds."""
        if within is None:
            return next(iter(self._jobs.values()), None)
        while self._shortest and self._shortest[0][1] not in self._jobs:
            heappop(self._shortest)
        if not self._shortest or self._shortest[0][0] > within:
            return None
        return next(job for job in self._jobs.values() if supposed(job) <= within)


class Easy:
    """A policy."""

    def __init__(self, gpus: int) -> None:
        self._free = gpus
        self._waiting = [Waiting() for _ in range(gpus + 1)]
        self._running: list[tuple[float, int, Job]] = []  # when it is over, ascending
        self._promises: dict[int, Told] = {}

    def submit(self, job: Job, at: float) -> None:  # noqa: ARG002 -- the order is that of the ids
        self._waiting[job.gpus].add(job)

    def ended(self, job: Job, at: float) -> None:  # noqa: ARG002 -- what has ended is free
        self._free += job.gpus
        self._running.remove(next(each for each in self._running if each[1] == job.id))

    def decide(self, now: float) -> list[Job]:
        starts = []
        while (head := self._head()) is not None and head.gpus <= self._free:
            self._start(head, now)
            starts.append(head)
        self._promises = {}
        if head is not None:
            at, spare, certain = self._earliest(head, now)
            self._promises[head.id] = Told(at, certain)
            while (job := self._filler(at - now, spare)) is not None:
                self._start(job, now)
                starts.append(job)
                spare -= job.gpus if now + supposed(job) > at else 0
        return starts

    def promises(self) -> Mapping[int, Told]:
        return self._promises

    def _head(self) -> Job | None:
        heads = (each.first() for each in self._waiting)
        return min((job for job in heads if job is not None), key=lambda job: job.id, default=None)

    def _start(self, job: Job, now: float) -> None:
        self._waiting[job.gpus].drop(job)
        self._free -= job.gpus
        insort(self._running, (now + supposed(job), job.id, job))

    def _earliest(self, head: Job, now: float) -> tuple[float, int, bool]:
        """When there are enough GPUs for it, how many more are free then, and whether only limits say so."""
        free, at, certain = self._free, now, True
        for end, _, job in self._running:
            if free >= head.gpus and end > at:
                break
            free, at = free + job.gpus, max(end, now + OVERDUE)
            certain = certain and job.limit is not None
        return at, free - head.gpus, certain

    def _filler(self, within: float, spare: int) -> Job | None:
        """The first behind the head that may start: it is over within so many seconds, or GPUs are left beside it."""
        fitting = enumerate(self._waiting[: self._free + 1])
        found = [each.first(None if gpus <= spare else within) for gpus, each in fitting]
        return min((job for job in found if job is not None), key=lambda job: job.id, default=None)
