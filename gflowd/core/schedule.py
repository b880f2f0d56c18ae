"""Which queued jobs start now, on which GPUs, and what holds each of the others. Pure: state in, plan out.

Backfill with a promise, after EASY (D. Lifka, The ANL/IBM SP scheduling system, 1995): the first job in order that
cannot start is promised the earliest time that the time limits of those before it allow, and one behind it starts now
only if that time stays.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations, islice
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from gflowd.core import reasons
from gflowd.core.occupancy import Hold, hold
from gflowd.core.requests import why_impossible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gflowd.core.model import Job, Spec
    from gflowd.core.occupancy import Occupancy
    from gflowd.core.quotas import Ledger


OTHERS = 10  # times as many as may wait for resources are looked at in all: those over a quota are in nobody's way
OPTIONS = 256  # choices of GPUs that are tried where it matters which a job gets: all, of up to eight GPUs


@dataclass(frozen=True, slots=True)
class Rules:
    """How to plan.

    `depth`: with how many that wait for resources to end; `gpus_are_fresh`: somebody has just looked at them, they may
    be given away; `default_limit`: seconds that a job without a time limit counts as; `choose`: which of the
    candidates a job gets, when it asks for so many.
    """

    depth: int
    gpus_are_fresh: bool = True
    default_limit: float = inf
    ledger: Ledger | None = None
    choose: Callable[[Job, Sequence[int], int], tuple[int, ...]] | None = None


@dataclass(frozen=True, slots=True)
class Promise:
    """The job that is first among those that wait, and when it starts at the latest; `inf`: nobody knows."""

    job: Job
    at: float


@dataclass(slots=True)
class Plan:
    """`starts`: job and GPUs, in order; `reasons`: of the jobs looked at that stay, in order; `impossible`: why never.

    `wants_gpu`: those that would start, were their GPUs looked at first.
    """

    starts: list[tuple[Job, tuple[int, ...]]] = field(default_factory=list)
    reasons: dict[int, str] = field(default_factory=dict)
    impossible: list[tuple[Job, str]] = field(default_factory=list)
    wants_gpu: list[int] = field(default_factory=list)
    promise: Promise | None = None


def duration(spec: Spec, default: float = inf) -> float:
    """The seconds that a job counts as."""
    return default if spec.time_limit is None else spec.time_limit


def plan(queue: Iterable[Job], room: Occupancy, rules: Rules, closed: set[int] | None = None) -> Plan:
    """Decides on `queue`, which is in order and holds no job that is held or waits for another. `room` is used up.

    The ids of arrays of which no further job can start, all asking for the same, are put into `closed`.
    """
    planner = _Planner(room, rules, set() if closed is None else closed)
    for looked_at, job in enumerate(queue):
        if planner.waiting >= rules.depth or looked_at >= rules.depth * OTHERS:
            break
        planner.consider(job)
    return planner.plan


class _Kept:
    """What the promise needs, and how much beside it is left at its time."""

    def __init__(self, room: Occupancy, spec: Spec, at: float, until: float) -> None:
        self._room = room
        self._spec = spec
        self._until = until
        self._at = at
        self._cpus, self._memory_mb = room.slack(spec, at)
        self.gpus = set(room.candidates(spec, at, until)) if spec.gpus else set()

    def outlived_by(self, end: float) -> bool:
        return end > self._at or end == inf

    def can_spare(self, given: Hold) -> bool:
        """Whether the promise could be kept if a job had this."""
        spec = self._spec
        if given.cpus > max(self._cpus, 0) or given.memory_mb > max(self._memory_mb, 0):
            return False
        if not spec.gpus or not given.gpus:
            return True
        if spec.shared or given.shared_mb is not None or self._room.windows:
            return self._room.fits_beside(given, spec, self._at, self._until)
        return len(self.gpus.difference(given.gpus)) >= spec.gpus

    def again(self) -> _Kept:
        """After another job got something."""
        return _Kept(self._room, self._spec, self._at, self._until)


class _Failure(NamedTuple):
    """Why a job cannot start, nor any of its shape that ends at `end` or later."""

    end: float
    reason: str


class _Planner:
    def __init__(self, room: Occupancy, rules: Rules, closed: set[int]) -> None:
        self.plan = Plan()
        self._room = room
        self._limits = room.capacity.limits
        self._rules = rules
        self._closed = closed
        self.waiting = 0  # for resources
        self._kept: _Kept | None = None
        self._failed: dict[object, _Failure] = {}  # what can no longer start, by its shape

    def consider(self, job: Job) -> None:
        """Starts a job or says why not."""
        spec = job.spec
        shape = self._shape(spec)
        known = self._failed.get(shape)  # what once could not start is not impossible
        impossible = why_impossible(spec, self._limits) if known is None else None
        if impossible is not None:
            self.plan.impossible.append((job, impossible))
        elif job.begin_at is not None and job.begin_at > self._room.now:
            pass  # gflowctl sees that for itself
        elif self._rules.ledger is not None and not self._rules.ledger.admits(spec):
            self._wait(job, reasons.QUOTA)
        else:
            if known is None or self._end(spec) < known.end:
                found = self._place(job)
                if not isinstance(found, str):
                    self._start(job, found)
                    return
                known = self._failed[shape] = self._failure(spec, found)
            if self._kept is None and known.reason in (reasons.RESOURCES, reasons.RESERVATION):
                self._promise(job)
            self._wait(job, known.reason)

    def _failure(self, spec: Spec, reason: str) -> _Failure:
        """Who ends later is in the way of promises and reservations as well; what is short is so for any time."""
        for_any_time = reason not in (reasons.PRIORITY, reasons.RESERVATION)
        return _Failure(-inf if for_any_time else self._end(spec), reason)

    def _wait(self, job: Job, reason: str) -> None:
        self.waiting += reason not in (reasons.QUOTA, reasons.GPU_UNAVAILABLE)
        if len(self.plan.reasons) < self._rules.depth:
            self.plan.reasons[job.id] = reason
        if job.array_id is not None:
            self._closed.add(job.array_id)

    def _shape(self, spec: Spec) -> object:
        """Equal for jobs that can start or cannot together, but for when they end."""
        whose = spec.user if self._room.windows else None
        return spec.gpus, spec.cpus, spec.memory_mb, spec.gpu_type, spec.gpu_memory_mb, spec.shared, whose

    def _end(self, spec: Spec) -> float:
        return self._room.now + duration(spec, self._rules.default_limit)

    def _place(self, job: Job) -> tuple[int, ...] | str:
        """The GPUs that a job can have now, or why it cannot start."""
        spec, room = job.spec, self._room
        if spec.gpus and (room.capacity.gpus is None or room.suitable(spec) < spec.gpus):
            return reasons.GPU_UNAVAILABLE
        if min(room.slack(spec, room.now)) < 0:
            return reasons.RESOURCES
        end = self._end(spec)
        found = room.candidates(spec, room.now, end) if spec.gpus else []
        if len(found) < spec.gpus:
            whatever = room.candidates(spec, room.now, end, reserved=True)
            return reasons.RESOURCES if len(whatever) < spec.gpus else reasons.RESERVATION
        return self._best(job, self._options(job, found, end), end)

    def _best(self, job: Job, options: list[tuple[int, ...]], end: float) -> tuple[int, ...] | str:
        """The first choice that every reservation allows and that the promise can spare, or why there is none."""
        spec, room, kept = job.spec, self._room, self._kept
        why = reasons.RESERVATION
        for gpus in options:
            if room.leaves_enough(spec.user, gpus, room.now, end):
                if kept is None or not kept.outlived_by(end) or kept.can_spare(hold(spec, gpus, end)):
                    return gpus
                why = reasons.PRIORITY
        return why

    def _options(self, job: Job, found: list[int], end: float) -> list[tuple[int, ...]]:
        """The choices of GPUs worth considering, best first: one, where all are equal to everybody else."""
        kept, count = self._kept, job.spec.gpus
        if kept is None or not kept.outlived_by(end):
            best = self._chosen(job, found)
        else:  # first what the job with the promise can have no use for
            free = [index for index in found if index not in kept.gpus]
            needed = [index for index in reversed(found) if index in kept.gpus]
            best = self._chosen(job, free if len(free) >= count else [*free, *needed[: count - len(free)]])
        if not count or not (job.spec.shared or self._room.windows):
            return [best]
        return [best, *islice(combinations(found, count), OPTIONS)]

    def _chosen(self, job: Job, found: list[int]) -> tuple[int, ...]:
        count, choose = job.spec.gpus, self._rules.choose
        if choose is None or job.spec.shared or self._room.windows or count in (0, len(found)):
            return tuple(sorted(found[:count]))
        return choose(job, sorted(found), count)

    def _start(self, job: Job, gpus: tuple[int, ...]) -> None:
        given = hold(job.spec, gpus, self._end(job.spec))
        self._room.take(given)
        if self._kept is not None and self._kept.outlived_by(given.end):
            self._kept = self._kept.again()
        if self._rules.ledger is not None:
            self._rules.ledger.start(job.spec)
        if gpus and not self._rules.gpus_are_fresh:  # kept for it: nobody behind it may have them meanwhile
            self.plan.wants_gpu.append(job.id)
            self.plan.reasons[job.id] = reasons.RESOURCES
        else:
            self.plan.starts.append((job, gpus))

    def _promise(self, job: Job) -> None:
        """The first job that waits for resources gets the earliest time that is known, if there is any."""
        length = duration(job.spec, self._rules.default_limit)
        at = self._room.earliest(job.spec, length)
        if at is not None:
            self.plan.promise = Promise(job, at)
            self._kept = _Kept(self._room, job.spec, at, at + length)
