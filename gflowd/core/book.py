"""The scheduler's book: every job that is queued or live, kept in order as the snapshot changes. Mutable; pure.

Ended jobs are counted out: the snapshot still has them, the scheduler no longer thinks of them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Any

from gflowd.core import codec, schedule
from gflowd.core.model import Queued

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gflowd.core.model import Job


class Book:
    """Queued and live jobs by id; `queue()` in scheduling order."""

    def __init__(self) -> None:
        self.queued: dict[int, Job] = {}
        self.live: dict[int, Job] = {}
        self._order: list[tuple[int, int]] = []
        self._begins: dict[int, float] = {}
        self._cancelled: set[int] = set()

    def queue(self) -> Iterator[Job]:
        """The queued jobs, first to start first."""
        return (self.queued[job_id] for _, job_id in self._order)

    def edges(self, wall: float) -> tuple[float, ...]:
        """The begin times still to come, ascending."""
        return tuple(sorted(begin for begin in self._begins.values() if begin > wall))

    def unwanted(self) -> list[Job]:
        """The queued jobs whose cancellation is wished."""
        return [self.queued[job_id] for job_id in self._cancelled]

    def get(self, job_id: int) -> Job | None:
        """A queued or live job."""
        return self.queued.get(job_id) or self.live.get(job_id)

    def refresh(
        self, ids: Iterable[int], specs: Mapping[int, Any], wishes: Mapping[int, Any], phases: Mapping[int, Any]
    ) -> None:
        """Takes in the records of `ids` anew; an id without a spec is forgotten."""
        for job_id in ids:
            self._remove(job_id)
            if job_id not in specs:
                continue
            phase = phases.get(job_id)
            if phase is not None and phase["is"] == "ended":
                continue
            self._add(codec.job(job_id, specs[job_id], wishes.get(job_id), phase))

    def _add(self, job: Job) -> None:
        if isinstance(job.phase, Queued):
            self.queued[job.id] = job
            insort(self._order, schedule.order(job))
            if job.wish.cancelled_at is not None:
                self._cancelled.add(job.id)
            if job.begin_at is not None and not job.wish.held:
                self._begins[job.id] = job.begin_at
        else:
            self.live[job.id] = job

    def _remove(self, job_id: int) -> None:
        self.live.pop(job_id, None)
        self._begins.pop(job_id, None)
        self._cancelled.discard(job_id)
        job = self.queued.pop(job_id, None)
        if job is not None:
            key = schedule.order(job)
            del self._order[bisect_left(self._order, key)]
