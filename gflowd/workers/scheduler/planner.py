"""Collects the inputs of a plan: the job queue, the machine, the settings and the report of the GPU poller.

Remembers of the last plan only which jobs wait for a poll of the GPUs, what the promises rest on, usage and quotas.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Any

from gflowd.core.accounting import runtimes
from gflowd.core.accounting.fairshare import Shares
from gflowd.core.accounting.quotas import Ledger, Quotas
from gflowd.core.execution.grace import grace
from gflowd.core.gpu import allocation, nvml_codes
from gflowd.core.job import reasons
from gflowd.core.job.model import AUTO, Ended, Job, Phase, Queued, Run, Running, Starting, Stopping, Suspended
from gflowd.core.planning import backfill, forecast, promises, unsuspension
from gflowd.core.planning.backfill import LATE, Plan, Rules
from gflowd.core.planning.capacity import Capacity, Device
from gflowd.core.planning.occupancy import OVERDUE, Hold, Occupancy, hold
from gflowd.core.planning.promises import Basis, Promise
from gflowd.core.queue.order import band
from gflowd.effects.kernel import machine
from gflowd.workers.scheduler.gpu_pool import DOUBT, GpuPool

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from gflowd.config.loader import Config
    from gflowd.core.gpu.admin_state import AdminState, Resumed
    from gflowd.core.gpu.device import Gpu
    from gflowd.core.gpu.states import Picture
    from gflowd.core.job.model import Spec
    from gflowd.core.moment import Moment
    from gflowd.core.planning.backfill import Look
    from gflowd.core.planning.reservation_calendar import ReservationCalendar
    from gflowd.core.planning.reservations import Window
    from gflowd.core.queue.job_queue import JobQueue
    from gflowd.workers.board_slots import Slots

Changes = dict[int, tuple[Phase, ...]]  # the phases that a job goes through now, in order
EXPECTED = 50  # jobs whose expected start is computed
ADVISED = 20  # jobs for which a limit is computed that would let them start
SOON = 0.01  # seconds
LOOK_ELSEWHERE = 5.0  # seconds: nobody rings when another daemon gives a GPU back
_FORETOLD = (reasons.RESOURCES, reasons.RESERVATION, reasons.PRIORITY, reasons.QUOTA)
_ADVISABLE = (reasons.RESERVATION, reasons.PRIORITY, reasons.NEVER_RESERVATION)


@dataclass(frozen=True, slots=True)
class Said:
    """The records that plans depend on, except those of jobs and reservations."""

    settings: Mapping[str, Any]
    quotas: Mapping[str, Any]
    usage: Mapping[str, Any]
    promises: Mapping[int, Any] = field(default_factory=dict)


class Planner:
    """Makes plans, with the reservations of `calendar`.

    The last plan sets `poll_after`: the GPUs must be polled after this time (None: need not be); `doubt_ends`: when a
    missing GPU is no longer expected back; and `patient_until`: when it stops to wait for the first look at the GPUs
    since the daemon's start, without which no job starts, as those for CPUs alone would pass all others (None: it does
    not wait). All are monotonic.
    """

    def __init__(self, config: Config, calendar: ReservationCalendar, *, by_uuid: bool = False) -> None:
        """`by_uuid`: jobs know their GPUs by UUID, whatever the configuration says."""
        self._config = config
        self._calendar = calendar
        self._cpus = config.cpus or machine.cpus()
        self._memory_mb = config.memory_mb or machine.memory_mb()
        self._shares = Shares(config.fair_share_enabled, config.fair_share_half_life, config.fair_share_cpu_weight)
        self._pool = GpuPool(config.gpu_allow, "uuid" if by_uuid else config.gpu_visible_as, config.gpu_trust_claims_of)
        self.poll_after: float | None = None
        self.doubt_ends: float | None = None
        self.patient_until: float | None = None
        self._began: float | None = None  # when the first plan was made (monotonic)
        self._usage: dict[str, float] = {}  # by user, as the last plan counted it
        self._quotas = Quotas(config.quotas, {})  # as of the last plan
        self._looking: dict[int, Look] = {}  # jobs that start after a poll of their GPUs
        self._bases: dict[int, Basis] = {}  # what each promise rested on when it last held
        self._told: dict[int, Basis] = {}  # the same for the last plan, until its records are committed
        self._drained = False
        self.ledger = Ledger(self._quotas)  # of the last plan, with what starts in it
        self.shares: Mapping[str, float] = {}

    def plan(self, job_queue: JobQueue, said: Said, changes: Changes, slots: Slots, now: Moment) -> Plan:
        """Which queued jobs start now. Those in `changes` are left out."""
        self._calendar.look(now.wall)
        all_live = [job for job in job_queue.live.values() if not ends(changes.get(job.id))]
        live = [job for job in all_live if is_here(job)]
        lingering = [
            *job_queue.lingering.values(),
            *(job for job in job_queue.live.values() if _lingers(changes.get(job.id))),
        ]
        self._pool.look(said.settings, [*live, *lingering], slots, now)
        fresh = self.poll_after is not None and slots.gpu_report.answered >= self.poll_after
        self._usage = self._shares.usage(said.usage, live, now.wall)
        self._quotas = Quotas(self._config.quotas, said.quotas)
        ledger = Ledger(self._quotas)
        holds = {job.id: self._hold(job, job_queue, now) for job in live if job.run is not None}
        for job in all_live:
            its = holds.get(job.id)
            ledger.start(job.spec, inf if its is None else its.end, certain=its is None or its.certain)
        rules_shares = self._shares.shares(self._usage)
        queue = job_queue.queue(now.wall, rules_shares, self._looking, _by_age(said.promises))
        rules = Rules(
            self._config.backfill_depth,
            fresh,
            ledger,
            self._chooser(),
            length=job_queue.runtimes.length,
            ready=job_queue.ready,
            promised={job_id: record["at"] for job_id, record in said.promises.items()},
            estimated=promises.estimates(said.promises),
            looking=self._looking,
            promise_after=self._config.promise_after,
            promise_within=self._config.promise_within,
            rule_out=queue.rule_out,
            enough=queue.enough,
        )
        room = self._room(holds.values(), lingering, now)
        waiting = () if "drain" in said.settings else (job for job in queue if job.id not in changes)
        self.patient_until = self._patience(job_queue, slots, now)
        plan = backfill.plan(waiting, room, rules) if self.patient_until is None else Plan()
        self.ledger, self.shares = ledger, rules_shares
        self._looking = plan.wants_gpu
        if fresh or not plan.wants_gpu:
            self.poll_after = None
        if plan.wants_gpu and self.poll_after is None:
            self.poll_after = now.mono
        self.doubt_ends = self._pool.doubt_ends(now)
        if self.poll_after is not None and now.mono > self.poll_after + LATE:
            plan.reasons.update(dict.fromkeys(plan.wants_gpu, reasons.GPU_UNAVAILABLE))
        return plan

    def _patience(self, job_queue: JobQueue, slots: Slots, now: Moment) -> float | None:
        self._began = now.mono if self._began is None else self._began
        report, until = slots.gpu_report, self._began + LATE
        if report.gpus is not None or report.trouble is not None or now.mono >= until:
            return None
        here = (job.spec for job in job_queue.queued.values() if job.spec.cluster in {None, AUTO})
        return until if any(spec.gpus for spec in here) else None

    def promises(self, job_queue: JobQueue, said: Said, plan: Plan, now: Moment) -> dict[int, Mapping[str, Any] | None]:
        """The records of promises that change with a plan; call `settled` when they are committed."""
        if self.patient_until is not None:
            self._told = {}
            return {}
        drained = "drain" in said.settings
        changed: dict[int, Mapping[str, Any] | None] = {}
        told = {promise.job.id for promise in plan.promises}.union(plan.wants_gpu)
        starting = {job.id for job, _ in plan.starts}
        for job_id in said.promises:
            job = job_queue.queued.get(job_id)
            if job is None or job_id in starting or not job_queue.is_lined_up(job):
                changed[job_id] = None
                self._bases.pop(job_id, None)
            elif (
                job_id not in told
            ):  # any other job that is not in the plan has to wait for others of its array or name
                plan.promises.append(Promise(job, None, None, reasons.DRAINED if drained else reasons.GROUP))
        self._told, self._drained, was_drained = {}, drained, self._drained
        if not plan.promises:
            return changed
        basis = self._basis_of(job_queue, said, plan, now, drained=drained or was_drained)
        doubtful = self.doubt_ends is not None and not drained
        for promise in plan.promises:
            before = said.promises.get(promise.job.id)
            was = self._bases.get(promise.job.id)
            is_awaited = promise.expected is not None or self._pool.known is None
            may_come_back = doubtful and is_awaited and promise.job.spec.gpus > 0 and not _is_overdue(before, now)
            its = replace(basis, gpus=basis.gpus & self._pool.usable) if doubtful and not may_come_back else basis
            after = promises.renewed(before, promise, was, its, now.wall, is_doubtful=may_come_back)
            if after is not before:
                changed[promise.job.id] = after
        self._told = {promise.job.id: basis for promise in plan.promises}
        return changed

    def settled(self, touched: Collection[int]) -> None:
        """The records are committed, except for those of jobs that were `touched` meanwhile."""
        self._bases |= {job_id: basis for job_id, basis in self._told.items() if job_id not in touched}

    def in_line(self, job_queue: JobQueue, promised: Mapping[int, Any], depth: int, now: Moment) -> list[Job]:
        """The first `depth` jobs that wait only for their turn, in order; of each array only the first."""
        shares = self._shares.shares(self._usage)
        return list(islice(job_queue.queue(now.wall, shares, (), _by_age(promised), folded=True), depth))

    def told(self, job_queue: JobQueue, plan: Plan, line: Sequence[Job]) -> dict[str, Any]:
        """What explains the places of the jobs in line, by the job's id or the user's name.

        `order`: the ids; `ready`: since when a job waits, if not since its submission; `lengths`: the predicted length,
        if it has no limit; `shares`: of the users. For the first few, `until`: to start now, the job would have to end
        by then; `longest`: with a limit above this it can never start.
        """
        ready = {job.id: job_queue.ready(job) for job in line}
        shares = self._shares.shares(self._usage)
        advised = [(job, plan.why(job)) for job in line[:ADVISED]]
        advice = {job: plan.shorter(job) for job, why in advised if why in _ADVISABLE}
        return {
            "order": [job.id for job in line],
            "ready": {str(job.id): ready[job.id] for job in line if ready[job.id] != job.spec.submitted_at},
            "lengths": {
                str(job.id): list(job_queue.runtimes.length(job)) for job in line if job.spec.time_limit is None
            },
            "shares": {job.spec.user: round(shares.get(job.spec.user, 1.0), 3) for job in line},
            "until": {str(job.id): at for job, (at, _) in advice.items() if at is not None},
            "longest": {str(job.id): seconds for job, (_, seconds) in advice.items() if seconds is not None},
        }

    def expected(self, job_queue: JobQueue, line: Sequence[Job], plan: Plan, now: Moment) -> dict[int, float]:
        """When the first of those in line are expected to start (wall time)."""
        found = {}
        if line:
            waiting = [job for job in line[:EXPECTED] if plan.why(job) in _FORETOLD and job.id in job_queue.queued]
            live = list(job_queue.live.values())
            holds = {job.id: self._hold(job, job_queue, now) for job in live if is_here(job)}
            room = self._room(holds.values(), job_queue.lingering.values(), now)
            ledger = Ledger(self._quotas)
            for job in filter(is_here, live):  # one that is overdue is not gone yet
                ledger.start(job.spec, max(holds[job.id].end, now.wall + OVERDUE) if job.id in holds else inf)
            found = forecast.expected(waiting, room, job_queue.runtimes.length, ledger)
        for promise in plan.promises:
            if promise.expected is not None:
                found[promise.job.id] = promise.expected
        return found

    def claim(self, job: Job, gpu_ids: tuple[int, ...], executor: str, now: Moment) -> Run | None:
        """The run of a job that starts on these GPUs; None when another daemon was faster."""
        uuids = self._pool.uuids(gpu_ids)
        if not self._pool.claim(uuids):
            return None
        return Run(
            attempt=job.phase.attempt if isinstance(job.phase, Queued) else 1,
            executor=job.spec.executor or executor,
            gpu_ids=gpu_ids,
            gpu_uuids=uuids,
            **self._pool.visible(gpu_ids),
            launched_at=now.wall,
        )

    def charge(self, before: Mapping[str, Any] | None, spec: Spec, after: Ended) -> dict[str, float]:
        """The `usage` record of a job's user with what an attempt has used."""
        return self._shares.record(before, spec, after.started_at, after.ended_at)

    def wakes(self, plan: Plan, now: Moment) -> Iterator[float]:
        """When the plan may change although nothing rings (monotonic)."""
        if plan.promise_due is not None:
            yield now.mono + max(plan.promise_due - now.wall, SOON)
        if self.patient_until is not None:
            yield self.patient_until
        if self.doubt_ends is not None:
            yield self.doubt_ends + SOON
        if self._pool.is_contended and plan.reasons:
            yield now.mono + LOOK_ELSEWHERE

    def edges(self, job_queue: JobQueue, wall: float) -> tuple[float, ...]:
        """The future wall times at which something is due, ascending."""
        return tuple(sorted({*job_queue.edges(wall), *self._calendar.edges}))

    @property
    def resumed(self) -> tuple[Resumed, ...]:
        """The faulty GPUs that were resumed."""
        return self._pool.admin.resumed

    @property
    def gpus(self) -> tuple[Gpu, ...] | None:
        """The GPUs of the machine; None while they are unknown."""
        return self._pool.known

    @property
    def admin(self) -> AdminState:
        """What people ordered of the GPUs."""
        return self._pool.admin

    @property
    def reserved(self) -> list[Window]:
        """The current or next window of each reservation."""
        return self._calendar.windows

    def picture(self, job_queue: JobQueue, wall: float) -> Picture:
        """The GPUs as gflowctl shows them."""
        jobs = {**job_queue.live, **job_queue.lingering}
        return self._pool.picture(jobs, self.reserved, wall)

    def close(self) -> None:
        """Lets go of the GPUs."""
        self._pool.close()

    @property
    def cpus(self) -> int:
        """The CPU slots that the machine has."""
        return self._cpus

    def capacity(self) -> Capacity:
        """What the machine has."""
        gpus = self._pool.known
        devices = None if gpus is None else tuple(self._device(gpu) for gpu in gpus)
        return Capacity(devices, self._cpus, self._memory_mb, cut_up=any(map(_is_cut_up, gpus or ())))

    def _device(self, gpu: Gpu) -> Device:
        return Device(gpu.index, gpu.model, gpu.memory_mb, gpu.used_mb, self._pool.foreign_mb(gpu))

    def _room(self, holds: Iterable[Hold], lingering: Iterable[Job], now: Moment) -> Occupancy:
        """What the live jobs have, and until when."""
        self._pool.count(lingering, now)
        coming, horizon = self._calendar.coming, self._calendar.horizon
        room = Occupancy(self.capacity(), self._pool.usable, now.wall, coming, horizon, self._pool.doubtful(now))
        for each in holds:
            room.take(each)
        return room

    def _hold(self, job: Job, job_queue: JobQueue, now: Moment) -> Hold:
        """What a live job holds, and until when, for plans."""
        assert job.run is not None
        length = job_queue.runtimes.length(job)
        certain = isinstance(job.phase, Stopping) or (length.is_certain and not isinstance(job.phase, Suspended))
        spec = job.spec.replace(cpus=cpus) if (cpus := unsuspension.claimed_cpus(job)) != job.spec.cpus else job.spec
        return hold(spec, self._pool.places(job.run), now.wall + self._left(job, length, now), certain=certain)

    def _left(self, job: Job, length: runtimes.Length, now: Moment) -> float:
        match job.phase:
            case Starting(run=run):
                return runtimes.remaining(length, max(0.0, now.wall - run.launched_at))
            case Running(started=started, pauses=pauses) if started.identity.boot == now.boot:
                return runtimes.remaining(length, now.mono - started.mono - pauses.seconds)
            case Suspended(started=started, pauses=pauses, since_mono=since, since_boot=boot) if boot == now.boot:
                return runtimes.remaining(length, since - started.mono - pauses.seconds)  # as if it went on now
            case Stopping(since_boot=boot, since_mono=since) if boot == now.boot:
                return grace(job.spec, self._config.grace) - (now.mono - since)
            case _:
                return 0.0

    def _basis_of(self, job_queue: JobQueue, said: Said, plan: Plan, now: Moment, *, drained: bool) -> Basis:
        """The current basis of promises, including the jobs that start in this plan."""
        here = [job for job in job_queue.live.values() if is_here(job)]
        holds = {job.id: self._hold(job, job_queue, now) for job in here}
        known = {job_id: each.end if each.certain else inf for job_id, each in holds.items()}
        starting = [job for job, _ in plan.starts]
        for job in starting:
            length = job_queue.runtimes.length(job)
            known[job.id] = now.wall + length.seconds if length.is_certain else inf
        waiting = [job_queue.queued[job_id] for job_id in (*plan.guarded, *plan.wants_gpu)]
        waiting += [each.job for each in plan.promises]
        everybody = [*here, *starting, *waiting]
        return Basis(
            gpus=frozenset(self._pool.usable | self._pool.doubtful(now)),
            capacity=(self._cpus, self._memory_mb),
            windows=frozenset((each.id, each.start, each.end) for each in self._calendar.coming if not each.again)
            | {(each.id, 0.0, 0.0) for each in self._calendar.coming if each.again},
            quotas=dict(said.quotas),
            ends=known,
            bands={job.id: band(job) for job in everybody},
            waiting=frozenset(job.id for job in waiting),
            specs={each.job.id: each.job.spec for each in plan.promises},
            drained=drained,
            suspended=frozenset(job.id for job in here if isinstance(job.phase, Suspended)),
            offset=now.wall - now.mono,
        )

    def _chooser(self) -> Callable[[Job, Sequence[int], int], tuple[int, ...]] | None:
        how = self._config.gpu_allocation
        if how == allocation.SEQUENTIAL:
            return None
        near = allocation.closeness(self._pool.known or ())
        return lambda job, found, count: allocation.choose(found, count, how, near, job.id)


def _is_overdue(record: Mapping[str, Any] | None, now: Moment) -> bool:
    """Whether it is too late for a promise to wait for a missing GPU. To a new planner, each has only just gone."""
    return record is not None and record["at"] is not None and now.wall > record["at"] + DOUBT


def _by_age(records: Mapping[int, Mapping[str, Any]]) -> list[int]:
    """The promised jobs, the first promised first."""
    return sorted(records, key=lambda job_id: (records[job_id]["since"], job_id))


def _is_cut_up(gpu: Gpu) -> bool:
    return gpu.parent is not None or gpu.fault == nvml_codes.MIG


def is_here(job: Job) -> bool:
    """Whether a live job has resources of this machine, and not of a cluster."""
    return job.run is not None and job.run.cluster is None


def ends(after: tuple[Phase, ...] | None) -> bool:
    """Whether a live job gives up its resources."""
    return after is not None and isinstance(after[-1], Ended | Queued)


def _lingers(after: tuple[Phase, ...] | None) -> bool:
    """Whether a live job ends now and leaves processes that keep its GPUs."""
    return after is not None and isinstance(after[-1], Ended) and after[-1].lingers
