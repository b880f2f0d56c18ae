"""What live attempts use, sampled: often at their beginning, every few seconds later, at little cost. A part of the
timeout enforcer. Enters no record: that is the scheduler's, at the end.

A sample is the resident memory of all processes, which counts what they share several times; only where that exceeds
the peak so far is it counted exactly, which is expensive.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gflowd.core.execution import usage
from gflowd.core.execution.usage import Sample, Samples
from gflowd.effects.kernel import processes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gflowd.core.execution.observations import Key, LiveJob
    from gflowd.core.execution.procstat import Process
    from gflowd.core.moment import Moment
    from gflowd.workers.attempt_processes import Attempts

RARELY = 100  # times as long as the last pass took: never more than 1 % of a core
MORE = 1.02  # times the peak so far: what is worth to be counted exactly


class UsageWatch:
    """Remembers the most that was seen of each attempt."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._samples: dict[Key, Sample] | None = None
        self._looked: dict[Key, float] = {}  # when each was last sampled
        self._not_before = float("-inf")
        self._told = Samples()

    def tick(self, jobs: Iterable[LiveJob], now: Moment, before: Samples) -> tuple[Samples, float | None]:
        """What was seen so far, and when to look again (monotonic). `before`: what this one's predecessor had seen."""
        jobs = list(jobs)
        keys = {job.key for job in jobs}
        known: Mapping[Key, Sample] = before.of_attempts if self._samples is None else self._samples
        self._samples = {key: sample for key, sample in known.items() if key in keys}
        self._looked = {key: at for key, at in self._looked.items() if key in keys}
        watched = {job.key: job for job in jobs if job.runs_in(now.boot) and not job.suspended}
        if watched and now.mono >= self._due(watched):
            begun = time.monotonic()
            self._look(watched, now)
            self._not_before = now.mono + RARELY * (time.monotonic() - begun)
        if self._samples != self._told.of_attempts:
            self._told = Samples(dict(self._samples))
        return self._told, self._due(watched) if watched else None

    def _due(self, watched: Mapping[Key, LiveJob]) -> float:
        """When the next of these is to be sampled."""
        dues = []
        for key, job in watched.items():
            assert job.started is not None
            looked = self._looked.get(key)
            dues.append(
                job.started.mono + usage.SOONEST
                if looked is None
                else looked + usage.interval(looked - job.started.mono)
            )
        return max(min(dues), self._not_before)

    def _look(self, watched: Mapping[Key, LiveJob], now: Moment) -> None:
        assert self._samples is not None
        found = self._attempts.members(watched.values())
        for key, members in found.items():
            self._looked[key] = now.mono
            if members:
                before = self._samples.get(key, Sample(0, 0.0))
                cpu = sum(each.cpu for each in members) / processes.TICKS
                self._samples[key] = before.with_another(_memory(members, before.memory), cpu)


def _memory(members: list[Process], known: int) -> int:
    """What they have together, if that may be more than what is known."""
    if sum(map(processes.resident, members)) <= known * MORE:
        return 0
    return sum(map(processes.memory, members))
