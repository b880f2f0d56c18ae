"""Puts together what a plan is made of: the book, the machine, the settings and what the GPU poller has seen.

Remembers only which look at the GPUs it waits for, and whom it promised a start.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from gflowd.core import allocation, forecast, nvml_codes, reasons, schedule
from gflowd.core.capacity import Capacity, Device
from gflowd.core.fairshare import Shares
from gflowd.core.model import Ended, Job, Phase, Queued, Running, Starting
from gflowd.core.occupancy import Occupancy, hold
from gflowd.core.quotas import Ledger, Quotas
from gflowd.core.schedule import Plan, Rules, duration
from gflowd.effects import machine
from gflowd.workers.gpu_desk import GpuDesk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gflowd.config import Config
    from gflowd.core.book import Book
    from gflowd.core.gpu import Gpu
    from gflowd.core.moment import Moment
    from gflowd.core.reservations import Window

Changes = dict[int, tuple[Phase, ...]]  # the phases that a job goes through now, in order
EXPECTED = 50  # jobs whose start is foretold
LATE = 5.0  # seconds after which a look at the GPUs that was asked for is taken to hang


@dataclass(frozen=True, slots=True)
class Said:
    """The records of the snapshot, beside those of jobs, that plans depend on."""

    settings: Mapping[str, Any]
    quotas: Mapping[str, Any]
    usage: Mapping[str, Any]
    windows: Sequence[Window]  # of reservations, for some weeks


class Planner:
    """Plans. `poll_after`: a look at the GPUs that began later than that (monotonic) is wanted."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._cpus = config.cpus or machine.cpus()
        self._memory_mb = config.memory_mb or machine.memory_mb()
        self._default_limit = inf if config.default_time_limit is None else config.default_time_limit
        self.shares = Shares(config.fair_share_enabled, config.fair_share_half_life, config.fair_share_cpu_weight)
        self.desk = GpuDesk(config.gpu_allow)
        self.poll_after: float | None = None
        self._promised: int | None = None

    def plan(self, book: Book, said: Said, changes: Changes, slots: Mapping[str, Any], now: Moment) -> Plan:
        """What starts, of the jobs to which nothing else happens in `changes`."""
        live = [job for job in book.live.values() if not ends(changes.get(job.id))]
        lingering = [*book.lingering.values(), *(job for job in book.live.values() if _lingers(changes.get(job.id)))]
        self.desk.look(said.settings, [*live, *lingering], slots, now)
        fresh = self.poll_after is not None and looked(slots) >= self.poll_after
        usage = self.shares.usage(said.usage, live, now.wall)
        closed: set[int] = set()
        waiting = (job for job in book.queue(closed, usage, self._promised) if job.id not in changes)
        ledger = Ledger(Quotas(self._config.quotas, said.quotas), live)
        rules = Rules(self._config.backfill_depth, fresh, self._default_limit, ledger, self._chooser())
        room = self._room(live, lingering, said, now)
        plan = schedule.plan(() if "drain" in said.settings else waiting, room, rules, closed)
        self._promised = None if plan.promise is None else plan.promise.job.id
        if fresh or not plan.wants_gpu:
            self.poll_after = None
        if plan.wants_gpu and self.poll_after is None:
            self.poll_after = now.mono
        if self.poll_after is not None and now.mono > self.poll_after + LATE:
            plan.reasons.update(dict.fromkeys(plan.wants_gpu, reasons.GPU_UNAVAILABLE))
        return plan

    def expected(self, book: Book, said: Said, plan: Plan, now: Moment) -> dict[int, float]:
        """When the first of those that wait for resources are expected to start (wall time)."""
        found = {}
        if plan.reasons:
            waiting = (book.queued[job_id] for job_id in list(plan.reasons)[:EXPECTED] if job_id in book.queued)
            room = self._room(book.live.values(), book.lingering.values(), said, now)
            found = forecast.expected(waiting, room, self._default_limit)
        if plan.promise is not None and plan.promise.at < inf:
            found[plan.promise.job.id] = plan.promise.at
        return found

    def capacity(self) -> Capacity:
        """What the machine has."""
        gpus = self.desk.known
        devices = None if gpus is None else tuple(_device(gpu) for gpu in gpus)
        return Capacity(devices, self._cpus, self._memory_mb, cut_up=any(map(_is_cut_up, gpus or ())))

    def _room(self, live: Iterable[Job], lingering: Iterable[Job], said: Said, now: Moment) -> Occupancy:
        """What the live jobs have, and until when; what lingers keeps its GPUs, nobody knows for how long."""
        kept = {index for job in lingering if job.run is not None for index in self.desk.places(job.run)}
        room = Occupancy(self.capacity(), self.desk.available() - kept, now.wall, said.windows)
        for job in live:
            if job.run is not None:
                room.take(hold(job.spec, self.desk.places(job.run), self._end(job, now)))
        return room

    def _chooser(self) -> Callable[[Job, Sequence[int], int], tuple[int, ...]] | None:
        how = self._config.gpu_allocation
        if how == allocation.SEQUENTIAL:
            return None
        near = allocation.closeness(self.desk.known or ())
        return lambda job, found, count: allocation.choose(found, count, how, near, job.id)

    def _end(self, job: Job, now: Moment) -> float:
        """When a live job is gone at the latest, as far as plans go."""
        length = duration(job.spec, self._default_limit)
        phase = job.phase
        if isinstance(phase, Starting):
            return now.wall + length
        if isinstance(phase, Running) and phase.started.identity.boot == now.boot:
            return now.wall + length - (now.mono - phase.started.mono)
        return now.wall


def looked(slots: Mapping[str, Any]) -> float:
    """When the last look at the GPUs that we asked for began (monotonic)."""
    slot = slots.get("gpu_poller")
    return -inf if slot is None else float(slot[0][0])


def _device(gpu: Gpu) -> Device:
    return Device(gpu.index, gpu.model, gpu.memory_mb, gpu.used_mb)


def _is_cut_up(gpu: Gpu) -> bool:
    return gpu.parent is not None or gpu.fault == nvml_codes.MIG


def ends(after: tuple[Phase, ...] | None) -> bool:
    """Whether a live job gives up its resources."""
    return after is not None and isinstance(after[-1], Ended | Queued)


def _lingers(after: tuple[Phase, ...] | None) -> bool:
    """Whether a live job ends now and leaves processes that keep its GPUs."""
    return after is not None and isinstance(after[-1], Ended) and after[-1].lingers
