"""Which live jobs exceed their memory, if no cgroup enforces it: checks about once a second.

First it uses the resident memory from a pass over /proc, which counts shared pages several times; only for a job
that exceeds its limit by that does it count exactly, which is expensive.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gflowd import log
from gflowd.effects.kernel import processes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gflowd.core.execution.observations import Key, LiveJob
    from gflowd.core.moment import Moment
    from gflowd.workers.attempt_processes import Attempts

EVERY = 1.0  # seconds between two checks
RARELY = 20  # times as long as the last check took: never more than 5 % of a core


class MemoryWatch:
    """Remembers which jobs exceeded their memory, and when to check again."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._log = log.get("timeout_enforcer")
        self._over: set[Key] = set()
        self._look_at = float("-inf")

    def tick(self, jobs: Iterable[LiveJob], now: Moment) -> tuple[tuple[Key, ...], float | None]:
        """The attempts that exceed or exceeded their memory, and the monotonic time of the next check."""
        watched = {job.key: job for job in jobs if _is_limited(job, now)}
        self._over &= watched.keys()
        left = [job for key, job in watched.items() if key not in self._over]
        if left and now.mono >= self._look_at:
            begun = time.monotonic()
            self._over |= self._look(left)
            self._look_at = now.mono + max(EVERY, RARELY * (time.monotonic() - begun))
        return tuple(sorted(self._over)), self._look_at if len(self._over) < len(watched) else None

    def _look(self, live: list[LiveJob]) -> set[Key]:
        groups = self._attempts.groups
        jobs = [job for job in live if groups is None or not groups.holds(job.key)]
        over = {job.key for job in live if self._attempts.has_starved(job)}
        if not jobs:
            return over
        found = self._attempts.members(jobs)
        for job in jobs:
            limit = (job.memory_mb or 0) << 20
            if sum(each.rss for each in found[job.key]) * processes.PAGE <= limit:
                continue
            taken = sum(map(processes.memory, found[job.key]))
            if taken > limit:
                self._log.info("over its memory", job=job.id, taken_mb=taken >> 20, limit_mb=job.memory_mb)
                over.add(job.key)
        return over


def _is_limited(job: LiveJob, now: Moment) -> bool:
    """Whether it runs, in this boot, and has a memory limit."""
    return job.memory_mb is not None and job.why is None and job.runs_in(now.boot)
