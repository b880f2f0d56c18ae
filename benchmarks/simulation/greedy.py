"""Whatever fits starts, in order of submission or in that of the system that gflow reimplements. Promises nothing.

The order of that system: users with less GPU time lately before others (all of it counts, half after a week); then
the bonus for time limits; then submission. It is absolute: a job whose user had less by a second is before all others.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from math import exp2, expm1, log

from simulation.policy import DAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulation.policy import Told
    from simulation.workload import Job

HALF_LIFE = 7 * DAY
UNLIMITED = 100.0  # points of a job without a limit; the others have more, the shorter the more, down to a day
SHORTEST = 300.0


class Greedy:
    """A policy: in order of submission. One queue for each number of GPUs, so that only their heads are looked at."""

    def __init__(self, gpus: int) -> None:
        self._free = gpus
        self._queues: list[deque[Job]] = [deque() for _ in range(gpus + 1)]

    def submit(self, job: Job, at: float) -> None:  # noqa: ARG002 -- time does not matter here
        self._queues[job.gpus].append(job)

    def ended(self, job: Job, at: float) -> None:  # noqa: ARG002 -- time does not matter here
        self._free += job.gpus

    def decide(self, now: float) -> list[Job]:  # noqa: ARG002 -- time does not matter here
        starts = []
        while heads := [queue[0] for queue in self._queues[: self._free + 1] if queue]:
            job = min(heads, key=lambda head: head.id)
            self._queues[job.gpus].popleft()
            self._free -= job.gpus
            starts.append(job)
        return starts

    def promises(self) -> Mapping[int, Told]:
        return {}


class Usage:
    """GPU seconds that one user has had, each counted half after `HALF_LIFE`, those of running jobs as they pass."""

    __slots__ = ("_at", "_gpus", "_seconds")

    def __init__(self) -> None:
        self._at = 0.0
        self._gpus = 0
        self._seconds = 0.0

    def at(self, now: float) -> float:
        """As it counts now, which is not before the last change."""
        halves = (now - self._at) / HALF_LIFE
        return self._seconds * exp2(-halves) - self._gpus * HALF_LIFE / log(2) * expm1(-log(2) * halves)

    def change(self, gpus: int, now: float) -> None:
        """From now on there are so many GPUs more in use."""
        self._seconds, self._at, self._gpus = self.at(now), now, self._gpus + gpus


Place = tuple[float, int, "Job"]  # points below zero, id: the least is first


class GflowRs:
    """A policy: in the order of the Rust original. A queue for each number of GPUs and user."""

    def __init__(self, gpus: int) -> None:
        self._free = gpus
        self._queues: list[dict[str, list[Place]]] = [{} for _ in range(gpus + 1)]
        self._usage: dict[str, Usage] = {}

    def submit(self, job: Job, at: float) -> None:  # noqa: ARG002 -- see `points`
        heappush(self._queues[job.gpus].setdefault(job.user, []), (-points(job), job.id, job))
        self._usage.setdefault(job.user, Usage())

    def ended(self, job: Job, at: float) -> None:
        self._free += job.gpus
        self._usage[job.user].change(-job.gpus, at)

    def decide(self, now: float) -> list[Job]:
        starts = []
        usage: dict[str, float] = {}  # of those who are looked at
        while heads := [users for users in self._queues[: self._free + 1] if users]:
            for user in {user for users in heads for user in users if user not in usage}:
                usage[user] = self._usage[user].at(now)
            *_, job = min((usage[user], *queue[0]) for users in heads for user, queue in users.items())
            self._take(job)
            self._usage[job.user].change(job.gpus, now)
            starts.append(job)
        return starts

    def promises(self) -> Mapping[int, Told]:
        return {}

    def _take(self, job: Job) -> None:
        users = self._queues[job.gpus]
        heappop(users[job.user])
        if not users[job.user]:
            del users[job.user]
        self._free -= job.gpus


def points(job: Job) -> float:
    """What a time limit is worth."""
    return UNLIMITED if job.limit is None else SHORTEST - UNLIMITED * min(job.limit / DAY, 1.0)
