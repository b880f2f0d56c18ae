"""Made-up jobs and a made-up machine for the planner, and a clock that only runs in the imagination."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import inf

from gflowd.core import schedule
from gflowd.core.capacity import Capacity, Device
from gflowd.core.model import Job, Queued, Spec, Wish
from gflowd.core.occupancy import Hold, Occupancy, hold
from gflowd.core.schedule import Plan, Rules

SPEC = Spec(command=("x",), name="x", user="u", cwd="/", env="e", submitted_at=1.0)
DEVICES = tuple(Device(index, "A100" if index < 2 else "H100", 100 * (index + 1)) for index in range(4))
BIG = Capacity(DEVICES, cpus=8, memory_mb=1000)


@dataclass(frozen=True)
class Reserved:
    user: str
    start: float
    end: float
    gpus: int = 0
    gpu_list: tuple[int, ...] | None = None


def job(job_id: int, wish: Wish | None = None, **fields: object) -> Job:
    return Job(job_id, SPEC.replace(**fields), wish or Wish(), Queued())


class Clockwork:
    """Runs jobs, of which each is known to take `takes` seconds, through plans made at every event.

    Fails when more is given out than there is, when what is reserved is given to others, when a promise is put off.
    """

    def __init__(
        self, jobs: Sequence[tuple[float, Job, float]], capacity: Capacity = BIG, windows: Sequence[Reserved] = ()
    ) -> None:
        self.coming = sorted(jobs, key=lambda each: (each[0], each[1].id))
        self.capacity = capacity
        self.windows = windows
        self.queue: list[Job] = []
        self.takes = {each.id: takes for _, each, takes in jobs}
        self.running: dict[int, tuple[Job, Hold, float]] = {}
        self.started: dict[int, tuple[float, tuple[int, ...]]] = {}
        self.promise: schedule.Promise | None = None

    def room(self, now: float) -> Occupancy:
        made = Occupancy(self.capacity, [device.index for device in self.capacity.gpus or ()], now, self.windows)
        for _, given, _ in self.running.values():
            made.take(given)
        return made

    def run(self, until: float = inf) -> Iterator[tuple[float, Plan]]:
        """Each event's time and plan, until nothing can happen any more."""
        while True:
            ends = [end for *_, end in self.running.values()]
            edges = [edge for each in self.windows for edge in (each.start, each.end)]
            last = getattr(self, "now", -inf)
            times = [at for at in (*ends, *edges, *(at for at, *_ in self.coming)) if at > last]
            if not times or min(times) > until:
                return
            self.now = min(times)
            self.running = {key: value for key, value in self.running.items() if value[2] > self.now}
            while self.coming and self.coming[0][0] <= self.now:
                self.queue.append(self.coming.pop(0)[1])
            yield self.now, self._plan()

    def _plan(self) -> Plan:
        now = self.now
        plan = schedule.plan(self.queue, self.room(now), Rules(1000))
        for each, gpus in plan.starts:
            end = now + schedule.duration(each.spec)
            self.running[each.id] = each, hold(each.spec, gpus, end), min(now + self.takes[each.id], end)
            self.started[each.id] = now, gpus
        gone = {each.id for each, _ in (*plan.starts, *plan.impossible)}
        self.queue = [each for each in self.queue if each.id not in gone]
        self._check()
        before, self.promise = self.promise, plan.promise
        if before is not None and before.job.id in self.started:
            assert self.started[before.job.id][0] <= before.at
        elif before is not None:
            assert plan.promise is not None
            assert (plan.promise.job, plan.promise.at <= before.at) == (before.job, True)
        return plan

    def _check(self) -> None:
        holds = [given for _, given, _ in self.running.values()]
        assert sum(each.cpus for each in holds) <= self.capacity.cpus
        assert sum(each.memory_mb for each in holds) <= self.capacity.memory_mb
        for device in self.capacity.gpus or ():
            here = [each for each in holds if device.index in each.gpus]
            assert len(here) <= 1 or all(each.shared_mb is not None for each in here)
            assert sum(each.shared_mb or 0 for each in here) <= device.memory_mb
            for window in self.windows:
                if window.start <= self.now < window.end and device.index in (window.gpu_list or ()):
                    assert {each.user for each in here} <= {window.user}
        self._check_counts(holds)

    def _check_counts(self, holds: list[Hold]) -> None:
        """What is reserved by count is there: in the owner's hands, or free and not reserved by index."""
        active = [each for each in self.windows if each.start <= self.now < each.end]
        gpus = {index for each in holds for index in each.gpus}
        holders = {index: {each.user for each in holds if index in each.gpus} for index in gpus}
        listed = {index for each in active for index in each.gpu_list or ()}
        free = sum(d.index not in holders and d.index not in listed for d in self.capacity.gpus or ())
        wanted = 0
        for owner in {each.user for each in active}:
            count = sum(each.gpus for each in active if each.user == owner and each.gpu_list is None)
            wanted += max(0, count - sum(users == {owner} for users in holders.values()))
        assert free >= wanted


def could_start(room: Occupancy, waiting: Job, promise: schedule.Promise | None) -> bool:
    """Whether there is any choice of GPUs with which a job could start now and the promise be kept."""
    spec = waiting.spec
    end = room.now + schedule.duration(spec)
    if not room.fits(spec, room.now, end):
        return False
    for gpus in combinations(room.candidates(spec, room.now, end), spec.gpus):
        if room.leaves_enough(spec.user, gpus, room.now, end) and _keeps(room, hold(spec, gpus, end), promise):
            return True
    return False


def _keeps(room: Occupancy, given: Hold, promise: schedule.Promise | None) -> bool:
    if promise is None:
        return True
    spec, length = promise.job.spec, schedule.duration(promise.job.spec)
    if promise.at == inf and given.end < inf:
        return True
    return room.fits_beside(given, spec, promise.at, promise.at + length)
