"""Which job waits for which: an index, so that an end touches only the jobs that wait for it. Pure.

Nothing here is recursive: a chain may be as long as the queue.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from gflowd.core.job.dependencies import ALL
from gflowd.core.queue.dependency_rules import (
    SATISFIED,
    WAITING,
    Never,
    Satisfied,
    Verdict,
    Waiting,
    combined,
    judge_one,
    met_at,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gflowd.core.job.dependencies import Needs
    from gflowd.core.queue.dependency_rules import Look


class _Waiter:
    """A job and how far its dependencies are satisfied. Mutable."""

    __slots__ = ("came", "due", "lost", "met_at", "needs", "open", "places", "singleton", "told")

    def __init__(self, needs: Needs) -> None:
        self.needs = needs
        self.open: set[int] = set()  # indices of undecided dependencies
        self.places: dict[int, list[int]] = {}  # by id
        self.came = False  # at least one is satisfied
        self.met_at: float | None = None  # when the last of them was satisfied, or the first if one is enough
        self.lost: int | None = None  # the index of the first that can never be satisfied
        self.singleton = False
        self.told = self.due = False  # in the news, now or before; not yet read there
        for place, dependency in enumerate(needs.dependencies):
            if dependency.id is None:
                self.singleton = True
            else:
                self.open.add(place)
                self.places.setdefault(dependency.id, []).append(place)

    def decide(self, place: int, verdict: Verdict) -> None:
        match verdict:
            case Satisfied():
                self.open.discard(place)
                self.came = True
            case Never():
                self.open.discard(place)
                self.lost = place if self.lost is None else min(self.lost, place)
            case Waiting():  # pragma: no branch -- exhaustive
                pass

    def meet(self, at: float | None) -> None:
        if at is not None:
            best = max if self.needs.mode == ALL else min
            self.met_at = at if self.met_at is None else best(self.met_at, at)

    def verdict(self, *, alone: bool) -> Verdict:
        is_any = self.came or (self.singleton and alone)
        is_open = bool(self.open) or (self.singleton and not alone)
        return combined(self.needs.mode, is_any=is_any, is_open=is_open, lost=self._never()) or WAITING

    def _never(self) -> Never | None:
        if self.lost is None:
            return None
        culprit = self.needs.dependencies[self.lost].id
        assert culprit is not None
        return Never(culprit)


class DependencyGraph:
    """The needs of every queued job that has any. Mutable.

    `aftercorr` must be resolved first (`dependency_rules.corresponding`). Decisions are final, as in Slurm,
    until the job is added again: after a requeue of `id`, add all `affected(id)` again.
    """

    def __init__(self) -> None:
        self._waiters: dict[int, _Waiter] = {}
        self._waiting_for: dict[int, dict[int, None]] = {}
        self._timers: list[tuple[float, int, int]] = []  # when, job, place; some outlive what they were for
        self._news: deque[int] = deque()

    def add(self, job_id: int, needs: Needs, look: Look, now: float) -> None:
        """Adds a job, or updates its needs."""
        self.remove(job_id)
        waiter = self._waiters[job_id] = _Waiter(needs)
        for other in waiter.places:
            self._waiting_for.setdefault(other, {})[job_id] = None
        self._judge(job_id, waiter, range(len(needs.dependencies)), look, now)

    def remove(self, job_id: int) -> None:
        """Forgets what a job waits for, if anything; those that wait for it go on waiting."""
        waiter = self._waiters.pop(job_id, None)
        for other in () if waiter is None else waiter.places:
            waiting = self._waiting_for[other]
            del waiting[job_id]
            if not waiting:
                del self._waiting_for[other]

    def affected(self, job_id: int) -> tuple[int, ...]:
        """The jobs that name `job_id` (a job or a whole array) in their needs, including decided ones."""
        return tuple(self._waiting_for.get(job_id, ()))

    def hear(self, job_id: int, look: Look, now: float) -> None:
        """Call it when something happened to `job_id`; for an element, also with its array's id."""
        for dependent in self.affected(job_id):
            waiter = self._waiters[dependent]
            self._judge(dependent, waiter, waiter.places[job_id], look, now)

    def pass_time(self, look: Look, now: float) -> None:
        """Re-evaluates what is due by `now`."""
        while self._timers and self._timers[0][0] <= now:
            _, job_id, place = heappop(self._timers)
            if self._is_open(job_id, place):
                self._judge(job_id, self._waiters[job_id], (place,), look, now)

    def next_time(self) -> float | None:
        """When to call `pass_time` next."""
        while self._timers and not self._is_open(*self._timers[0][1:]):
            heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def news(self) -> Iterator[tuple[int, Satisfied | Never]]:
        """Each job that was decided since, once, ignoring others of its name.

        Who cancels it while iterating, and has the graph hear of that, meets its dependents in the same iteration.
        """
        while self._news:
            job_id = self._news.popleft()
            waiter = self._waiters.get(job_id)
            if waiter is None or not waiter.due:
                continue
            waiter.due = False
            verdict = waiter.verdict(alone=True)
            assert not isinstance(verdict, Waiting)
            yield job_id, verdict

    def verdict(self, job_id: int, *, alone: bool = True) -> Verdict:
        """The verdict on a job, without a time. `alone`: whether no job of its name is in its way
        (`Singletons`).
        """
        waiter = self._waiters.get(job_id)
        return SATISFIED if waiter is None else waiter.verdict(alone=alone)

    def met_at(self, job_id: int) -> float | None:
        """When the needs of a job were satisfied, if known."""
        waiter = self._waiters.get(job_id)
        return None if waiter is None else waiter.met_at

    def _judge(self, job_id: int, waiter: _Waiter, places: Iterable[int], look: Look, now: float) -> None:
        for place in places:
            if place not in waiter.open:
                continue
            dependency = waiter.needs.dependencies[place]
            outcome = look(dependency)
            verdict = judge_one(dependency, outcome, now)
            waiter.decide(place, verdict)
            if isinstance(verdict, Satisfied):
                waiter.meet(met_at(dependency, outcome))
            if isinstance(verdict, Waiting) and verdict.until is not None:
                heappush(self._timers, (verdict.until, job_id, place))
        if not waiter.told and not isinstance(waiter.verdict(alone=True), Waiting):
            waiter.told = waiter.due = True
            self._news.append(job_id)

    def _is_open(self, job_id: int, place: int) -> bool:
        waiter = self._waiters.get(job_id)
        return waiter is not None and place in waiter.open
