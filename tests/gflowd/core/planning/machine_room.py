"""Made-up jobs and a made-up machine for the planner, and a clock that only runs in the imagination."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from math import inf

from support.specs import SPEC

from gflowd.core.accounting.runtimes import Length, remaining
from gflowd.core.job.model import Job, Queued, Wish
from gflowd.core.planning import backfill
from gflowd.core.planning.backfill import Plan, Rules, limit_or_guess
from gflowd.core.planning.capacity import Capacity, Device
from gflowd.core.planning.occupancy import Hold, Occupancy, hold
from gflowd.core.planning.promises import Promise
from gflowd.core.planning.reservations import Window
from gflowd.core.queue.order import band

DEVICES = tuple(Device(index, "A100" if index < 2 else "H100", 100 * (index + 1)) for index in range(4))
BIG = Capacity(DEVICES, cpus=8, memory_mb=1000)
EVERY = (0, 1, 2, 3)  # its GPUs
NOW = 1000.0
HOUR, DAY = 3600.0, 86400.0


class Reserved(Window):
    """A window of some reservation."""

    def __init__(
        self,
        user: str,
        start: float,
        end: float,
        gpus: int = 0,
        gpu_list: tuple[int, ...] | None = None,
        again: bool = False,
        uid: int | None = None,
    ) -> None:
        super().__init__(id=0, user=user, start=start, end=end, gpus=gpus, gpu_list=gpu_list, again=again, uid=uid)


def job(job_id: int, wish: Wish | None = None, **fields: object) -> Job:
    return Job(job_id, SPEC.replace(**fields), wish or Wish(), Queued())


def room(
    *held: Hold, windows: Sequence[Reserved] = (), horizon: float = inf, doubtful: Sequence[int] = ()
) -> Occupancy:
    made = Occupancy(BIG, (0, 1, 2, 3), NOW, windows, horizon, doubtful)
    for each in held:
        made.take(each)
    return made


def again(first: float, length: float, period: float, days: int = 30, **fields: object) -> list[Reserved]:
    """Occurrences that are known that many days ahead."""
    begins = [NOW + first + period * number for number in range(-1, int(days * DAY / period) + 1)]
    told = [Reserved("v", begin, begin + length, again=True, **fields) for begin in begins]  # type: ignore[arg-type]
    return [each for each in told if each.end > NOW and each.start < NOW + days * DAY]


class Clockwork:
    """Runs jobs, of which each is known to take `takes` seconds, through plans made at every event.

    Fails when more is given out than there is, when what is reserved is given to others, when a promise is put off
    that rests on time limits.
    """

    def __init__(
        self,
        jobs: Sequence[tuple[float, Job, float]],
        capacity: Capacity = BIG,
        windows: Sequence[Reserved] = (),
        promise_after: float = 0.0,
    ) -> None:
        self.coming = sorted(jobs, key=lambda each: (each[0], each[1].id))
        self.capacity = capacity
        self.windows = windows
        self.promise_after = promise_after
        self.queue: list[Job] = []
        self.came = {each.id: at for at, each, _ in jobs}
        self.takes = {each.id: takes for _, each, takes in jobs}
        self.running: dict[int, tuple[Job, tuple[int, ...], float]] = {}  # with its GPUs, and when it will have ended
        self.started: dict[int, tuple[float, tuple[int, ...]]] = {}
        self.promises: dict[int, Promise] = {}
        self.due: float | None = None
        self.estimates: dict[int, float] = {}  # the first of each

    promise_within = inf

    def length(self, each: Job) -> Length:
        """What it counts as."""
        return limit_or_guess(each)

    def room(self, now: float) -> Occupancy:
        made = Occupancy(self.capacity, [device.index for device in self.capacity.gpus or ()], now, self.windows)
        for given in self.holds(now):
            made.take(given)
        return made

    def holds(self, now: float) -> list[Hold]:
        """What the running jobs have, and until when as far as anybody but they knows."""
        found = []
        for each, gpus, _ in self.running.values():
            length = self.length(each)
            start = self.started[each.id][0]
            end = start + length.seconds if length.is_certain else now + remaining(length, now - start)
            found.append(hold(each.spec, gpus, end, certain=length.is_certain))
        return found

    def run(self, until: float = inf) -> Iterator[tuple[float, Plan]]:
        """Each event's time and plan, until nothing can happen any more."""
        while True:
            ends = [end for *_, end in self.running.values()]
            edges = [edge for each in self.windows for edge in (each.start, each.end)]
            due = [] if self.due is None else [self.due]
            last = getattr(self, "now", -inf)
            times = [at for at in (*ends, *edges, *due, *(at for at, *_ in self.coming)) if at > last]
            if not times or min(times) > until:
                return
            self.now = min(times)
            self.running = {key: value for key, value in self.running.items() if value[2] > self.now}
            while self.coming and self.coming[0][0] <= self.now:
                self.queue.append(self.coming.pop(0)[1])
            yield self.now, self._plan()

    def ready(self, waiting: Job) -> float:
        return self.came[waiting.id]

    def _plan(self) -> Plan:
        now = self.now
        self.queue.sort(key=lambda each: (band(each), each.id not in self.promises))
        rules = Rules(
            1000,
            ready=self.ready,
            length=self.length,
            promised={job_id: each.at for job_id, each in self.promises.items()},
            estimated=self.estimates,
            promise_after=self.promise_after,
            promise_within=self.promise_within,
        )
        plan = backfill.plan(self.queue, self.room(now), rules)
        for each, gpus in plan.starts:
            limit = inf if each.spec.time_limit is None else each.spec.time_limit
            self.running[each.id] = each, gpus, now + min(self.takes[each.id], limit)
            self.started[each.id] = now, gpus
        gone = {each.id for each, _ in (*plan.starts, *plan.impossible)}
        self.queue = [each for each in self.queue if each.id not in gone]
        self.due = plan.promise_due
        self._check()
        for each in plan.promises:
            if each.at is None and each.expected is not None:
                self.estimates.setdefault(each.job.id, each.expected)
        before, self.promises = self.promises, {each.job.id: each for each in plan.promises}
        self._check_promises(before.values())
        return plan

    def _check_promises(self, before: Iterable[Promise]) -> None:
        """Whose start rested on time limits starts no later, and keeps its place."""
        for each in before:
            if each.job.id in self.started:
                assert each.at is None or self.started[each.job.id][0] <= each.at
            else:
                now = self.promises[each.job.id]
                assert each.at is None or (now.at is not None and now.at <= each.at), (each, now)

    def _check(self) -> None:
        holds = self.holds(self.now)
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


def could_start(room: Occupancy, waiting: Job, promises: Iterable[Promise]) -> bool:
    """Whether there is any choice of GPUs with which a job could start now and all promises be kept."""
    spec, length = waiting.spec, limit_or_guess(waiting)
    end = room.now + length.seconds
    if not room.fits(spec, room.now, end):
        return False
    for promise in promises:
        needs = limit_or_guess(promise.job).seconds
        for at, certain in ((promise.at, True), (promise.expected, False)):
            if at is not None:
                room.keep(promise.job.spec, at, at + needs, certain=certain)
    return any(
        room.leaves_enough(spec, gpus, room.now, end) and room.spares(hold(spec, gpus, end, certain=length.is_certain))
        for gpus in combinations(room.candidates(spec, room.now, end), spec.gpus)
    )
