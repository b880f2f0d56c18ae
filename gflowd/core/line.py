"""The order of the queue: priority, then fair share, then short time limits, then submission. Mutable; pure.

Within a priority each user has a line of their own, so that a change of their usage moves no job.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from heapq import heapify, heappop, heapreplace
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gflowd.core.model import Job

UNLIMITED = 100.0  # the score of a job without a time limit; the others are above, the shorter the higher
SHORTEST = 300.0
DAY = 86400.0

Band = tuple[float, int]
Place = tuple[float, int]


def band(job: Job) -> Band:
    """What comes before all else: what was put to the front last, then priority. The least is first."""
    return -(job.wish.top_at or 0.0), -job.spec.priority


def place(job: Job) -> Place:
    """Within a user's line: time limit and id. The least is first."""
    limit = job.spec.time_limit
    return -(UNLIMITED if limit is None else SHORTEST - UNLIMITED * min(limit / DAY, 1.0)), job.id


class Line:
    """The jobs that may be started, by band and user."""

    def __init__(self) -> None:
        self._bands: dict[Band, dict[str, list[Place]]] = {}

    def add(self, job: Job) -> None:
        """Lines a job up."""
        insort(self._bands.setdefault(band(job), {}).setdefault(job.spec.user, []), place(job))

    def drop(self, job: Job) -> None:
        """Takes a job out, if it is there."""
        line, found = self._find(job)
        if found is None:
            return
        del line[found]
        if not line:
            users = self._bands[band(job)]
            del users[job.spec.user]
            if not users:
                del self._bands[band(job)]

    def walk(
        self, usage: Mapping[str, float], beyond: Callable[[int], int | None], first: Job | None = None
    ) -> Iterator[int]:
        """The ids, first to start first; users with less `usage` (none: 0) before others, `first` before all of its
        priority: what was promised to it is not put off by who comes later.

        `beyond` is asked about each: None to have it, or an id up to which all like it are passed over.
        """
        pinned = first if first is not None and self._find(first)[1] is not None else None
        for each, users in sorted(self._bands.items()):
            ahead = pinned.id if pinned is not None and band(pinned) == each else None
            if ahead is not None and beyond(ahead) is None:
                yield ahead
            ranked = sorted(users, key=lambda user: usage.get(user, 0.0))
            for _, equals in groupby(ranked, key=lambda user: usage.get(user, 0.0)):
                yield from (job_id for job_id in _merged([users[user] for user in equals], beyond) if job_id != ahead)

    def _find(self, job: Job) -> tuple[list[Place], int | None]:
        """The line of a job's user, and where in it the job is; None when it is not there."""
        line, where = self._bands.get(band(job), {}).get(job.spec.user, []), place(job)
        found = bisect_left(line, where)
        return line, found if found < len(line) and line[found] == where else None


def _merged(lines: list[list[Place]], beyond: Callable[[int], int | None]) -> Iterator[int]:
    """The ids of several users' lines as one."""
    heads = [(line[0], number, 0) for number, line in enumerate(lines)]
    heapify(heads)
    while heads:
        (score, job_id), number, at = heads[0]
        after, line = beyond(job_id), lines[number]
        if after is None:
            at += 1
        else:  # there are no more in between than ids; to look no further is a tenth of the cost
            at = bisect_left(line, (score, after), at + 1, min(len(line), at + after - job_id))
        if at < len(line):
            heapreplace(heads, (line[at], number, at))
        else:
            heappop(heads)
        if after is None:
            yield job_id
