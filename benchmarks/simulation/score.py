"""The policy of docs/scheduling.md on counts of GPUs alone, written anew from the page: what the planner that ships is
held against, and a place to try other numbers. Faster, since it looks only at the heads of its queues.

    score = waited / length * gpus^(1/3) / (1 + 4 * usage of the user / an equal part of all users')

The first job in that order which cannot start, and has waited long enough for its length, is promised a start; one at
a time. What rests on predicted lengths is an estimate; a job without a limit never passes a promise that does not.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from math import ceil, inf, log2
from statistics import median

from simulation.easy import Waiting
from simulation.greedy import Usage
from simulation.policy import DAY, SUPPOSED, Told

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from simulation.workload import Job

SHORTEST, LONGEST = 600.0, 7 * DAY  # lengths in scores
WEIGHT = 4.0  # of usage
RUNS = 10  # that a prediction is made of

Key = tuple[str, int, float | None]  # user, GPUs and length, None: no limit


class Lengths:
    """What jobs without a limit are expected to take: the median of the last runs of the user with so many GPUs, else
    of the user, else of everybody, else a day. Mutable.
    """

    def __init__(self) -> None:
        self._runs: dict[object, deque[float]] = {}

    def learn(self, job: Job) -> None:
        for key in ((job.user, job.gpus), job.user, None):
            self._runs.setdefault(key, deque(maxlen=RUNS)).append(job.runs)

    def predict(self, user: str, gpus: int) -> float:
        return next((median(self._runs[key]) for key in ((user, gpus), user, None) if key in self._runs), SUPPOSED)


class Ending:
    """A running job: `limited_end` by its limit, inf without one."""

    __slots__ = ("_expected", "_started", "job", "limited_end")

    def __init__(self, job: Job, now: float, expected: float) -> None:
        self.job: Final = job
        self.limited_end: Final = inf if job.limit is None else now + job.limit
        self._started = now
        self._expected = expected

    def end(self, now: float, *, certain: bool) -> float:
        """When it ends; by a prediction that has passed, when it has run twice as long as now."""
        if certain or self.limited_end < inf:
            return self.limited_end
        expected = self._started + self._expected
        return expected if expected > now else now + max(1.0, now - self._started)


class Score:
    """A policy. `promise_after`: times its length that a job waits for a promise; `promise_within`: seconds at most."""

    def __init__(self, gpus: int, promise_after: float = 1.0, promise_within: float = 3 * DAY) -> None:
        self._free = gpus
        self._after = promise_after
        self._within = promise_within
        self._queues: dict[Key, Waiting] = {}
        self._running: dict[int, Ending] = {}
        self._usage: dict[str, Usage] = {}
        self._lengths = Lengths()
        self._promised: Job | None = None
        self._told = Told(inf, certain=False)

    def submit(self, job: Job, at: float) -> None:  # noqa: ARG002 -- the job says when
        self._usage.setdefault(job.user, Usage())
        self._queues.setdefault(_key(job), Waiting()).add(job)

    def ended(self, job: Job, at: float) -> None:
        self._free += job.gpus
        del self._running[job.id]
        self._usage[job.user].change(-job.gpus, at)
        self._lengths.learn(job)

    def promises(self) -> Mapping[int, Told]:
        return {} if self._promised is None or self._told.at == inf else {self._promised.id: self._told}

    def decide(self, now: float) -> list[Job]:
        starts: list[Job] = []
        spare = self._promise(self._promised, now, starts) if self._promised is not None else 0
        if self._promised is not None and not self._free:
            return starts
        heads = self._ranks(now)
        while True:
            found = [
                (waited_for * (now - job.submitted), -job.id, job)
                for key, waited_for in heads.items()
                if (job := self._next(key, now, spare)) is not None
            ]
            if not found:
                return starts
            *_, job = max(found)
            if job.gpus > self._free:
                spare = self._promise(job, now, starts)
            else:
                if self._promised is not None and self._outlasts(job, now):
                    spare -= job.gpus
                self._start(job, now, starts)

    def _ranks(self, now: float) -> dict[Key, float]:
        """The score of a job that has waited a second, for each queue that has any."""
        usage = {user: used.at(now) for user, used in self._usage.items()}
        part = sum(usage.values()) / len(usage) if usage else 0.0
        found = {}
        for key, queue in self._queues.items():
            if queue:
                user, gpus, length = key
                share = 1 / (1 + WEIGHT * usage[user] / part) if part else 1.0
                found[key] = gpus ** (1 / 3) * share / (length or in_score(self._lengths.predict(user, gpus)))
        return found

    def _next(self, key: Key, now: float, spare: int) -> Job | None:
        """The first of a queue to which something happens: it may start, or it is promised a start."""
        queue, gpus = self._queues[key], key[1]
        if gpus > self._free:
            return None if self._promised is not None else self._due(key, queue, now)
        if self._promised is None or gpus <= spare:
            return queue.first()
        if key[2] is None:
            job = queue.first()
            return None if job is None or self._outlasts(job, now) else job
        return queue.first(self._told.at - now)

    def _due(self, key: Key, queue: Waiting, now: float) -> Job | None:
        """The first of a queue that has waited long enough for a promise."""
        user, gpus, counts_as = key
        predicted = self._lengths.predict(user, gpus) if counts_as is None else 0.0
        # Any of the queue is at least so long; of the lowest class nothing is known.
        least = predicted if counts_as is None else counts_as / 2 if counts_as > in_score(0) else 0.0
        for job in queue:
            waited = now - job.submitted
            if waited >= min(self._after * (predicted if job.limit is None else job.limit), self._within):
                return job
            if waited < self._after * least:
                return None  # those behind it have waited less
        return None

    def _outlasts(self, job: Job, now: float) -> bool:
        """Whether it is, or may be, there when the promised job is to start."""
        if job.limit is not None:
            return now + job.limit > self._told.at
        return self._told.certain or now + self._lengths.predict(job.user, job.gpus) > self._told.at

    def _start(self, job: Job, now: float, starts: list[Job]) -> None:
        self._queues[_key(job)].drop(job)
        self._free -= job.gpus
        self._usage[job.user].change(job.gpus, now)
        expected = job.limit if job.limit is not None else self._lengths.predict(job.user, job.gpus)
        self._running[job.id] = Ending(job, now, expected)
        starts.append(job)

    def _promise(self, job: Job, now: float, starts: list[Job]) -> int:
        """Starts the job, or promises it a start; answers how many GPUs are left beside it then."""
        if job.gpus <= self._free:
            self._promised, self._told = None, Told(inf, certain=False)
            self._start(job, now, starts)
            return 0
        was_certain = self._promised is job and self._told.certain
        sure, beside_sure = self._earliest(job, now, certain=True)
        likely, beside = (sure, beside_sure) if was_certain else self._earliest(job, now, certain=False)
        self._promised = job
        self._told = Told(min(sure, likely), certain=sure <= likely)
        return beside_sure if self._told.certain else beside

    def _earliest(self, job: Job, now: float, *, certain: bool) -> tuple[float, int]:
        free, at = self._free, inf
        ends: list[tuple[float, int]] = []
        for each in self._running.values():
            insort(ends, (each.end(now, certain=certain), each.job.gpus))
        for end, gpus in ends:
            if free >= job.gpus and end > at:
                break
            free, at = free + gpus, end
        return at, free - job.gpus


def _key(job: Job) -> Key:
    return job.user, job.gpus, None if job.limit is None else in_score(job.limit)


def in_score(length: float) -> float:
    """What a length in seconds counts as: at least `SHORTEST`, at most `LONGEST`, then up to a power of two."""
    return float(2 ** ceil(log2(min(max(length, SHORTEST), LONGEST))))
