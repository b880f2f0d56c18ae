"""The job queue: all queued and live jobs, kept in order as the snapshot changes. Mutable; pure.

Ended jobs are not part of it; they are looked up in the snapshot if other jobs depend on them.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from gflowd.core.accounting.runtimes import LONGEST_KEY, Runtimes, lasted
from gflowd.core.job import codec, reasons
from gflowd.core.job.array_index import ArrayIndex
from gflowd.core.job.dependencies import ALL
from gflowd.core.job.model import AUTO, Ended, Job, Queued, Spec
from gflowd.core.job.records import has_ended, is_over
from gflowd.core.job.whole_machine import resolved
from gflowd.core.queue.archived_jobs import Archive
from gflowd.core.queue.array_limits import ArrayLimits
from gflowd.core.queue.order import PriorityOrder, Seat, Walker
from gflowd.core.queue.pending import PendingJobs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from gflowd.core.queue.job_records import JobRecords
    from gflowd.core.queue.order import Label

LATE = 1.0  # seconds by which a job may start too late for its deadline: instants are written to the second


class Walk:
    """The jobs that may start, in the order in which they should. The caller may rule some out on the way."""

    def __init__(self, job_queue: JobQueue, walker: Walker, looking: Iterable[int], promised: Iterable[int]) -> None:
        self._job_queue = job_queue
        self._walker = walker
        self._looking = looking
        self._promised = promised

    def rule_out(self, job: Job, length: float, personal: bool) -> None:  # noqa: FBT001 -- as `backfill.Rules` has it
        """Skips the jobs that ask for the same as `job` and take at least `length` seconds; `personal`: its user's."""
        self._job_queue.rule_out(self._walker, job, length, personal=personal)

    def enough(self) -> None:
        """Yields only promised jobs from now on."""
        self._walker.ruled_out.all = True

    def __iter__(self) -> Iterator[Job]:
        return self._job_queue.walk(self._walker, self._looking, self._promised)


class JobQueue:
    """Queued and live jobs by id; `queue()` gives those that may start, in scheduling order.

    `records`: where they are read from; `archive`: what is known of jobs that have left the snapshot; `runtimes`: how
    long jobs without a limit are expected to take; `machine`: its CPUs and MiB of memory, which jobs may ask for whole.
    """

    def __init__(
        self,
        records: JobRecords,
        archive: Archive | None = None,
        runtimes: Runtimes | None = None,
        machine: tuple[int, int] | None = None,
    ) -> None:
        self._machine = machine
        self.runtimes = runtimes or Runtimes()
        self._records = records
        self.queued: dict[int, Job] = {}
        self.live: dict[int, Job] = {}
        self.lost: dict[int, str] = {}  # queued jobs that can never start, and why
        self.reopened: dict[int, Job] = {}  # ended jobs that are to be queued again
        self.lingering: dict[int, Job] = {}  # ended jobs with processes that still use their GPUs
        self._line = PriorityOrder()
        self._abroad = PriorityOrder()  # those that a cluster is to run, which need nothing of this machine
        self._anywhere: set[int] = set()  # those of the first that may go to a cluster too
        self._begins: dict[int, float] = {}
        self._early: set[int] = set()  # those of `_begins` that are not in order yet
        self._timers: list[tuple[float, int]] = []  # a heap: when, which job; some entries are stale
        self._latest: dict[int, float] = {}  # of queued jobs with a deadline, when they are given up
        self._deadlines: list[tuple[float, int]] = []  # a heap, as `_timers`
        self._wall = float("-inf")  # when `settle` was last called
        self._cancelled: set[int] = set()
        self._runs: set[int] = set()  # queued runs of series that come after another
        self._met: dict[int, float] = {}  # when the dependencies of jobs were satisfied
        self._specs: dict[int, Spec] = {}  # of arrays, which share them
        self._array_index = ArrayIndex()
        self._array_limits = ArrayLimits(records)
        self._pending = PendingJobs(records, self._array_index, archive or Archive())
        self._blocked: set[int] = set()  # jobs that waited for another of their name when last seen

    def queue(
        self,
        now: float | None = None,
        shares: Mapping[str, float] | None = None,
        looking: Iterable[int] = (),
        promised: Iterable[int] = (),
        *,
        folded: bool = False,
        abroad: bool = False,
    ) -> Walk:
        """The queued jobs that wait for nothing but resources, in scheduling order at the time `now`.

        In each priority those `promised` come first, then those `looking` (once more in their own places). `shares` of
        users: as for `Walker`; `folded`: only the first of each array; `abroad`: those of clusters, not of this
        machine.
        """
        walker = Walker(self._wall if now is None else now, shares or {}, self._predicted)
        walker.folded = folded
        walker.abroad = abroad
        return Walk(self, walker, looking, promised)

    def walk(self, walker: Walker, looking: Iterable[int], promised: Iterable[int]) -> Iterator[Job]:
        """The iterator behind `queue`; call that."""
        rooms = self._array_limits.rooms(native=walker.abroad)
        full: set[int] = set()
        counted: set[int] = set()  # they come first, and once more in their places

        def beyond(job_id: int) -> int | None:
            array_id = self.queued[job_id].array_id
            if array_id is None or job_id in counted or (array_id not in full and rooms.get(array_id, 1) > 0):
                return None
            if array_id not in full:
                if self._pending.lets_go(self.queued[job_id]):  # else it waits for another job of its name
                    self._array_limits.left_out(job_id)
                full.add(array_id)
            ids = self._array_index.ids(array_id)
            return min((each for each in counted if job_id < each < ids.stop), default=ids.stop)

        walker.beyond = beyond
        line = self._abroad if walker.abroad else self._line
        for job_id in line.walk(walker, self._seated(promised), self._seated(looking)):
            job = self.queued[job_id]
            if not self._pending.lets_go(job):
                continue
            if job.array_id in rooms and job_id not in counted:
                rooms[job.array_id] -= 1
                counted.add(job_id)
            if walker.folded and job.array_id is not None:
                full.add(job.array_id)
            yield job

    def rule_out(self, walker: Walker, job: Job, length: float, *, personal: bool) -> None:
        """As `Walk.rule_out`."""
        self._line.rule_out(walker, job, length, personal=personal)

    def _seated(self, ids: Iterable[int]) -> Iterator[tuple[Job, Seat]]:
        return ((job, self._seat(job)) for job in map(self.queued.get, ids) if job is not None)

    def is_lined_up(self, job: Job) -> bool:
        """Whether a queued job only waits for its turn."""
        return self._line_of(job).has(job, self._seat(job))

    def ready(self, job: Job) -> float:
        """Since when the job itself could have started (wall time)."""
        since = job.phase.since if isinstance(job.phase, Queued) else None
        times = (job.begin_at, job.wish.released_at, since, self._met.get(job.id))
        return max(job.spec.submitted_at, *(at for at in times if at is not None), 0.0)

    def note_runs(self, record_id: str, record: Mapping[str, Any] | None) -> None:
        """Adds a record of run times, or removes it."""
        news = self.runtimes.take(record_id, record)
        if news is None:
            return
        user, gpus, name = news
        whose = user, gpus, name
        named = self.queued if len(name) >= LONGEST_KEY else set(self._pending.named(user, name))
        alike = [job for job in map(self.queued.get, named) if job is not None and _like(job.spec) == whose]
        before, after = (name, None) if record is None else (None, name)
        self._relabel(alike, before, after)

    def _relabel(self, alike: list[Job], before: Label, after: Label) -> None:
        for line in (self._line, self._abroad):
            line.relabel(alike, before, after)

    def _line_of(self, job: Job) -> PriorityOrder:
        return self._line if job.spec.cluster in (None, AUTO) else self._abroad

    @property
    def has_abroad(self) -> bool:
        """Whether a job only waits to be handed over to a cluster."""
        return not self._abroad.is_empty

    @property
    def anywhere(self) -> Collection[int]:
        """The jobs that only wait for their turn, here or on any cluster."""
        return self._anywhere

    def limit_of(self, job: Job) -> int | None:
        """How many jobs of its array may run at a time."""
        family = job.spec.family
        return None if family is None or job.array_id is None else self._array_limits.limit(job.array_id, family)

    def _predicted(self, user: str, gpus: int, label: Label) -> float:
        return self.runtimes.predicted(user, gpus, label).seconds

    def _seat(self, job: Job) -> Seat:
        label = self.runtimes.label(job) if job.spec.time_limit is None else None
        return Seat(self.ready(job), label)

    def waiting(self, depth: int) -> dict[int, str]:
        """The reasons of at most `depth` jobs that wait for others, and of groups at their limit."""
        waits = dict.fromkeys(self._pending.first(depth), reasons.DEPENDENCY)
        return waits | dict.fromkeys(self._array_limits.outside, reasons.GROUP)

    def heeds_ends(self) -> bool:
        """Whether the end of a job may let others start that do not need its resources."""
        return self._pending.is_used or self._array_limits.are_limited()

    def heeds_starts(self) -> bool:
        """Whether the start of a job may let others start."""
        return self._pending.heeds_starts

    def edges(self, wall: float) -> tuple[float, ...]:
        """The future times at which a job may start (begin times, delays after others) or is given up, ascending."""
        runs = (self.queued[job_id].begin_at for job_id in self._runs)
        edges = [begin for begin in (*self._begins.values(), *runs) if begin is not None and begin > wall]
        others = self._pending.next_time(), self._next_deadline()
        return tuple(sorted([*edges, *(each for each in others if each is not None)]))

    def due_runs(self, wall: float) -> Iterator[tuple[Job, int]]:
        """The queued runs of series whose time has come, each with the id of the run before it."""
        for job_id in self._runs - self._cancelled:
            job = self.queued[job_id]
            if job.spec.needs is not None and job.begin_at is not None and job.begin_at <= wall:
                for before in job.spec.needs.ids[:1]:
                    yield job, before

    def ended_at(self, job_id: int) -> float | None:
        """When a job ended; None for one that is not over."""
        if any(job_id in table for table in (self.queued, self.live, self.reopened)):
            return None
        phase = self._records.phases.get(job_id)
        return float("-inf") if phase is None or not has_ended(phase) else phase["ended_at"]

    def unwanted(self) -> Iterator[Job]:
        """The queued jobs with a cancel wish."""
        return (self.queued[job_id] for job_id in self._cancelled)

    def ids(self, spec_id: int) -> range:
        """The ids of all jobs of a spec."""
        return self._array_index.ids(spec_id)

    def spec_of(self, job_id: int) -> int:
        """The id of the spec that a job has."""
        return self._array_index.spec_of(job_id)

    def has(self, job_id: int) -> bool:
        """Whether a job may still change."""
        return any(job_id in table for table in (self.queued, self.live, self.lingering, self.reopened))

    def is_needed(self, spec_id: int) -> bool:
        """Whether any job of a spec, or one that waits or waited for it, may still change."""
        ids = self._array_index.ids(spec_id)
        for job in self.live.values():
            if job.spec.needs is not None and any(each in ids for each in job.spec.needs.ids):
                return True
        return any(self.has(each) or self._pending.is_awaited(each) for each in reversed(ids))

    def refresh(self, spec_ids: Iterable[int], job_ids: Iterable[int]) -> set[int]:
        """Reads the records again: of every job of `spec_ids`, and of `job_ids`.

        Returns the ids of all these, and of jobs that waited for one of them and have to wait again.
        """
        specs = self._records.specs
        ids = set(job_ids)
        spec_ids = list(spec_ids)
        for spec_id in spec_ids:
            ids.update(self._array_index.ids(spec_id) if spec_id in specs else self._known(spec_id))
            self._array_index.note(spec_id, specs.get(spec_id))
            self._specs.pop(spec_id, None)
            self._array_limits.note(spec_id, self._array_index.families.get(spec_id))
            if spec_id in specs:
                ids.update(self._array_index.ids(spec_id))
            else:
                self._pending.forget(spec_id)
        ids |= self._doubting(ids)
        for job_id in ids:
            self._forget(job_id)
        for spec_id in spec_ids:
            if spec_id not in specs:
                self.runtimes.forget_array(spec_id)
        self._pending.recount(ids)
        for job_id in sorted(ids):
            job = self._read(job_id)
            if job is not None:
                self._add(job)
        return ids

    def _known(self, spec_id: int) -> Iterable[int]:
        """The jobs of a removed spec that were still known: a big array leaves only when all of its jobs have ended."""
        ids = self._array_index.ids(spec_id)
        if self._pending.is_used:
            return ids
        tables = (self.queued, self.live, self.lingering, self.lost, self.reopened)
        return {spec_id}.union(*(table.keys() & ids for table in tables))

    def settle(self, ids: Iterable[int], wall: float) -> None:
        """Passes on changes of `ids` to the jobs that wait for them, and to the jobs that wait for these."""
        self._wall = wall
        while self._timers and self._timers[0][0] <= wall:
            begin, job_id = heappop(self._timers)
            if job_id in self._early and self._begins[job_id] == begin:
                self._line_up(self.queued[job_id])
        ids = set(ids)
        self._pending.hear(ids, wall)
        for array_id in self._array_limits.exhausted():
            ids.update(self._array_index.ids(array_id))
        for job_id in sorted(ids):
            job = self.queued.get(job_id)
            failures = None if job is None or job.array_id is None else self._array_limits.too_many(job.array_id)
            if failures is not None and job_id not in self.lost:
                self._lose(job_id, reasons.max_failures(failures), wall)
        while (when := self._next_deadline()) is not None and when <= wall:
            job_id = heappop(self._deadlines)[1]
            if job_id not in self.lost:
                self._lose(job_id, reasons.DEADLINE, wall)
        for job_id, culprit in self._pending.news():
            job = self.queued[job_id]
            if culprit is None:
                if (met_at := self._pending.met_at(job_id)) is not None:
                    self._met[job_id] = met_at
                self._line_up(job)
            elif job.spec.needs is not None and job.spec.needs.auto_cancel:
                self._lose(job_id, reasons.dependency_failed(culprit), wall)
        self._unblock(wall)

    def _next_deadline(self) -> float | None:
        """When next a queued job is given up."""
        while self._deadlines and self._latest.get(self._deadlines[0][1]) != self._deadlines[0][0]:
            heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def _unblock(self, wall: float) -> None:
        """Moves jobs that no longer wait for another of their name: their waiting for resources begins now."""
        self._blocked.intersection_update(self._pending.singletons)
        for job_id in self._pending.singletons:
            job = self.queued[job_id]
            if not self.is_lined_up(job):
                self._blocked.discard(job_id)
            elif not self._pending.lets_go(job):
                self._blocked.add(job_id)
            elif job_id in self._blocked:
                self._blocked.discard(job_id)
                self._line_of(job).drop(job, self._seat(job))
                met_at = self._pending.met_at(job_id)
                is_enough = job.spec.needs is not None and job.spec.needs.mode != ALL
                self._met[job_id] = met_at if met_at is not None and is_enough else wall
                self._line_of(job).add(job, self._seat(job))

    def _doubting(self, ids: Iterable[int]) -> set[int]:
        """The queued jobs whose information about `ids`, or about each other, is outdated."""
        found: set[int] = set()
        todo = list(ids)
        while todo:
            job_id = todo.pop()
            if job_id in self.queued and job_id not in self.lost:
                continue
            for dependent in self._pending.doubting(job_id, was_live=job_id in self.live):
                if dependent not in found:
                    found.add(dependent)
                    todo.append(dependent)
        return found

    def _lose(self, job_id: int, why: str, wall: float) -> None:
        self.lost[job_id] = why
        self._drop_from_line(self.queued[job_id])
        self._pending.lose(job_id, wall)

    def _read(self, job_id: int) -> Job | None:
        """The job, unless it is over for good."""
        specs = self._records.specs
        array_id = self._array_index.array_of(job_id)
        spec_id = job_id if array_id is None else array_id
        wish, phase = self._records.wishes.get(job_id), self._records.phases.get(job_id)
        self._array_limits.see(array_id, job_id, phase)
        if array_id is not None and phase is not None:
            self._learn(array_id, job_id, specs.get(array_id), phase)
        if spec_id not in specs or is_over(phase, wish):
            return None
        if array_id is None:
            return codec.element(job_id, self._spec(specs[job_id]), wish, phase, None)
        if array_id not in self._specs:
            self._specs[array_id] = self._spec(specs[array_id])
        return codec.element(job_id, self._specs[array_id], wish, phase, array_id)

    def _spec(self, raw: Mapping[str, Any]) -> Spec:
        spec = codec.decode_spec(raw)
        is_elsewhere = spec.cluster not in (None, AUTO)
        return spec if self._machine is None or is_elsewhere else resolved(spec, *self._machine)

    def _learn(self, array_id: int, job_id: int, spec: Mapping[str, Any] | None, phase: Mapping[str, Any]) -> None:
        """Learns from the end of an element how long the others may take, if they have no limit."""
        run, knew = lasted(phase), self.runtimes.knows(array_id)
        if spec is None or spec.get("time_limit") is not None or (run is None and not knew):
            return
        first = next(filter(None, map(self.queued.get, self._array_index.ids(array_id))), None) if not knew else None
        label: Label = array_id if knew else None if first is None else self.runtimes.label(first)
        self.runtimes.see(array_id, job_id, run)
        if self.runtimes.knows(array_id) != knew:
            alike = [job for job in map(self.queued.get, self._array_index.ids(array_id)) if job is not None]
            if alike:
                self._relabel(alike, label, self.runtimes.label(alike[0]))

    def _add(self, job: Job) -> None:
        match job.phase:
            case Queued():
                self.queued[job.id] = job
                if job.spec.repeat is not None and job.spec.needs is not None:
                    self._runs.add(job.id)
                if job.wish.cancelled_at is not None:
                    self._cancelled.add(job.id)
                if (latest := job.latest_start) is not None:
                    self._latest[job.id] = latest + LATE
                    heappush(self._deadlines, (latest + LATE, job.id))
                if not self._pending.enter(job):
                    self._line_up(job)
            case Ended(lingers=True):
                self.lingering[job.id] = job
            case Ended(last_attempt=attempt) if job.wish.requeued >= attempt:
                self.reopened[job.id] = job
            case Ended():
                pass  # the wish was for an earlier attempt
            case _:
                self.live[job.id] = job
                self._array_limits.start(job)
                self._pending.start(job)

    def _line_up(self, job: Job) -> None:
        """Puts a queued job that waits for no other into the order, or sets a timer for its begin time."""
        if job.wish.held or job.wish.cancelled_at is not None:
            return
        if job.begin_at is not None:
            self._begins[job.id] = job.begin_at
            if job.begin_at > self._wall:
                self._early.add(job.id)
                heappush(self._timers, (job.begin_at, job.id))
                return
            self._early.discard(job.id)
        self._line_of(job).add(job, self._seat(job))
        if job.spec.cluster == AUTO:
            self._anywhere.add(job.id)

    def _forget(self, job_id: int) -> None:
        for table in (self.live, self.lingering, self.lost, self.reopened):
            table.pop(job_id, None)
        self._cancelled.discard(job_id)
        self._latest.pop(job_id, None)
        self._runs.discard(job_id)
        self._array_limits.leave(job_id)
        self._pending.leave(job_id)
        job = self.queued.pop(job_id, None)
        if job is not None:
            self._drop_from_line(job)

    def _drop_from_line(self, job: Job) -> None:
        self._begins.pop(job.id, None)
        self._early.discard(job.id)
        self._line_of(job).drop(job, self._seat(job))
        self._anywhere.discard(job.id)
        self._met.pop(job.id, None)


def _like(spec: Spec) -> tuple[str, int, str]:
    """The properties by which a job's length is predicted."""
    return spec.user, spec.gpus, spec.name[:LONGEST_KEY]
