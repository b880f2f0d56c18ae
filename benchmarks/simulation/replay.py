"""Runs the jobs of a workload on one machine in virtual time, and notes when they start and what they were told."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from simulation.policy import Policy, Told
    from simulation.workload import Job

LATER = 1.0  # seconds: what is later by no more than that is not later; overdue jobs end "in a second"


@dataclass(slots=True)
class Kept:
    """Of one kind of promise, how many jobs had one, for how many it was later put off, and how many started later
    than the earliest time that they had been told.
    """

    made: int = 0
    moved: int = 0
    broken: int = 0


@dataclass(slots=True)
class Outcome:
    """`waits`: seconds, in the order of the jobs; `utilisation`: the part of the GPUs' time in use between the first
    and the last submission; `promises`: those that rest on limits alone, `estimates`: the others.
    """

    waits: list[float]
    utilisation: float
    promises: Kept = field(default_factory=Kept)
    estimates: Kept = field(default_factory=Kept)


def replay(jobs: Sequence[Job], gpus: int, policy: Policy) -> Outcome:
    """All jobs, which are in order of submission; the policy decides whenever one comes or ends.

    Raises RuntimeError when it gives away GPUs that there are not, or starts nothing though the machine is empty.
    """
    started: dict[int, float] = {}
    ends: list[tuple[float, int, Job]] = []
    coming, last = deque(jobs), jobs[-1].submitted
    free, used, told = gpus, 0.0, _Told()
    while coming or ends:
        now = min(coming[0].submitted if coming else inf, ends[0][0] if ends else inf)
        while ends and ends[0][0] <= now:
            *_, job = heappop(ends)
            policy.ended(job, now)
            free += job.gpus
        while coming and coming[0].submitted <= now:
            policy.submit(coming.popleft(), now)
        for job in policy.decide(now):
            started[job.id] = now
            told.start(job.id, now)
            heappush(ends, (now + job.runs, job.id, job))
            free -= job.gpus
            used += job.gpus * max(0.0, min(now + job.runs, last) - now)
        if free < 0:
            raise RuntimeError(f"at {now}: {-free} GPUs too many are given out")
        told.note(policy.promises())
    if len(started) < len(jobs):
        raise RuntimeError(f"{len(jobs) - len(started)} jobs never start")
    waits = [started[job.id] - job.submitted for job in jobs]
    return Outcome(waits, used / (gpus * (last - jobs[0].submitted)), told.promises, told.estimates)


class _Told:
    """What jobs were told of their start, and what came of it."""

    def __init__(self) -> None:
        self.promises, self.estimates = Kept(), Kept()
        self._first: dict[tuple[int, bool], float] = {}  # the earliest time told, by job and whether it was certain
        self._moved: set[tuple[int, bool]] = set()

    def note(self, told: Mapping[int, Told]) -> None:
        for job_id, (at, certain) in told.items():
            each, kept = (job_id, certain), self._of(certain)
            first = self._first.get(each)
            if first is None:
                kept.made += 1
            elif at > first + LATER and each not in self._moved:
                self._moved.add(each)
                kept.moved += 1
            self._first[each] = at if first is None else min(at, first)

    def start(self, job_id: int, now: float) -> None:
        for certain in (True, False):
            first = self._first.pop((job_id, certain), inf)
            self._of(certain).broken += now > first + LATER

    def _of(self, certain: bool) -> Kept:  # noqa: FBT001 -- it is what is asked
        return self.promises if certain else self.estimates
