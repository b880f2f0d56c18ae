"""Which queued jobs are handed over to clusters now, in gflow's order, and why the others that are to be wait here.

Dependencies, begin times, holds and quotas are done with by then. Nothing of this machine is needed for it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gflowd.core.cluster import pending_limit, suitability
from gflowd.core.execution.observations import live_job
from gflowd.core.job import reasons
from gflowd.core.queue.order import band

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from gflowd.config.loader import Config
    from gflowd.core.cluster.cluster_settings import Cluster
    from gflowd.core.cluster.remote_observations import Sights
    from gflowd.core.execution.observations import LiveJob
    from gflowd.core.job.model import Job
    from gflowd.core.moment import Moment
    from gflowd.core.planning.backfill import Plan
    from gflowd.core.queue.job_queue import JobQueue
    from gflowd.workers.board_slots import Slots
    from gflowd.workers.scheduler.planner import Planner

    Place = tuple[int | None, str | None]  # an array and a cluster


@dataclass(frozen=True, slots=True)
class Round:
    """What one decision goes by, and adds to: `taken` are jobs that are not to be handed over; `room`: how many more
    jobs may wait on each cluster that answers.
    """

    job_queue: JobQueue
    planner: Planner
    plan: Plan
    taken: Collection[int]
    sights: Sights
    room: dict[str, int]
    now: Moment
    drained: bool


class Handover:
    """Of the last decision: the `reasons` of jobs that wait for a cluster, in order, and when the next one that may go
    anywhere is `due` to (wall time; None: none).
    """

    def __init__(self, config: Config) -> None:
        self._clusters = config.clusters
        self._depth = config.backfill_depth
        self._soonest = min((each.after for each in self._clusters.values() if each.after is not None), default=None)
        self.reasons: dict[int, str] = {}
        self.due: float | None = None

    def decide(
        self,
        job_queue: JobQueue,
        planner: Planner,
        plan: Plan,
        taken: Collection[int],
        slots: Slots,
        now: Moment,
        *,
        drained: bool,
    ) -> None:
        """Adds to `plan.handed`; jobs that can never start here and may elsewhere are no longer `plan.impossible`."""
        self.reasons, self.due = {}, None
        room = pending_limit.room(self._clusters, job_queue.live.values(), slots.sights.unreachable)
        this = Round(job_queue, planner, plan, taken, slots.sights, room, now, drained)
        if job_queue.has_abroad:
            self._named(this)
        if job_queue.anywhere:
            self._anywhere(this)

    def _named(self, this: Round) -> None:
        for job in this.job_queue.queue(this.now.wall, this.planner.shares, abroad=True):
            if job.id in this.taken:
                continue
            name = job.spec.cluster or ""
            why = reasons.DRAINED if this.drained else self._why_not(job, name, this)
            if why is None:
                self._hand(job, name, this)
                continue
            self.reasons[job.id] = why
            if len(self.reasons) >= self._depth:
                break

    def _why_not(self, job: Job, name: str, this: Round) -> str | None:
        if name not in self._clusters:
            return reasons.CLUSTER_UNKNOWN
        if name in this.sights.unreachable:
            return reasons.CLUSTER_UNREACHABLE
        if this.room[name] < 1:
            return reasons.CLUSTER_FULL
        ledger = this.planner.ledger
        if ledger.admits(job.spec):
            return None
        return reasons.QUOTA if ledger.can_ever(job.spec) else reasons.NEVER_QUOTA

    def _anywhere(self, this: Round) -> None:
        job_queue, plan = this.job_queue, this.plan
        starting = {job.id for job, _ in plan.starts}.union(this.taken, plan.wants_gpu)
        hopeless = self._hopeless(plan, this.sights)
        due = set(hopeless)
        waiting = (each for each in job_queue.anywhere if self._soonest is not None and each not in starting | hopeless)
        for job_id in waiting:
            at = job_queue.ready(job_queue.queued[job_id]) + (self._soonest or 0.0)
            if at <= this.now.wall:
                due.add(job_id)
            elif self.due is None or at < self.due:
                self.due = at
        if this.drained or not due:
            return
        for job in job_queue.queue(this.now.wall, this.planner.shares):
            if job.id not in due or job.id in starting or not this.planner.ledger.admits(job.spec):
                continue
            waited = None if job.id in hopeless else this.now.wall - job_queue.ready(job)
            name = suitability.destination(job.spec, waited, self._clusters, this.sights.offers, this.room)
            if name is not None:
                self._hand(job, name, this)

    def _hopeless(self, plan: Plan, sights: Sights) -> set[int]:
        """The jobs that can never start here, and may on a cluster: taken out of those that are impossible."""
        kept, found = [], set()
        for job, why in plan.impossible:
            if job.spec.cluster is not None and suitability.could_go(job.spec, self._clusters, sights.offers):
                found.add(job.id)
                self.reasons[job.id] = reasons.CLUSTER_UNREACHABLE if not sights.offers else reasons.CLUSTER_FULL
            else:
                kept.append((job, why))
        plan.impossible[:] = kept
        return found

    def _hand(self, job: Job, name: str, this: Round) -> None:
        this.plan.handed.append((job, name))
        this.plan.reasons.pop(job.id, None)
        self.reasons.pop(job.id, None)
        this.planner.ledger.start(job.spec, certain=False)
        this.room[name] -= 1


def remote(job_queue: JobQueue, grace: float | None) -> tuple[LiveJob, ...]:
    """The attempts that clusters have or are to get, these in the order of their hand-over."""
    there = [job for job in job_queue.live.values() if job.run is not None and job.run.cluster is not None]
    there.sort(key=lambda job: (job.run.launched_at if job.run else 0.0, band(job), job.id))
    limits = _limits(job_queue, there)
    return tuple(live_job(job, grace).replace(throttle=limits.get(_place(job))) for job in there)


def _limits(job_queue: JobQueue, there: list[Job]) -> dict[Place, int]:
    """How many of each limited array may run on each cluster: what those on this machine leave, and those on the
    clusters that had some of it before.
    """
    sizes = Counter(map(_place, there))
    here = Counter(job.array_id for job in job_queue.live.values() if job.run is not None and job.run.cluster is None)
    left: dict[int, int] = {}
    found = {}
    for job in there:
        array_id, limit = job.array_id, job_queue.limit_of(job)
        if array_id is None or limit is None or (place := _place(job)) in found:
            continue
        found[place] = max(0, left.setdefault(array_id, limit - here[array_id]))
        left[array_id] -= sizes[place]
    return found


def _place(job: Job) -> Place:
    return job.array_id, None if job.run is None else job.run.cluster


def told(clusters: Mapping[str, Cluster], sights: Sights) -> dict[str, Any]:
    """What gflowctl is told of each cluster, as JSON."""
    return {name: dict(_told(cluster, sights)) for name, cluster in clusters.items()}


def _told(cluster: Cluster, sights: Sights) -> Iterator[tuple[str, Any]]:
    yield from (("engine", cluster.engine), ("directory", cluster.directory), ("partition", cluster.partition))
    yield from (("after", cluster.after), ("command_prefix", list(cluster.command_prefix)))
    yield "unreachable", sights.unreachable.get(cluster.name)
    offer = sights.offers.get(cluster.name)
    yield "nodes", None if offer is None else [
        {"cpus": each.cpus, "memory_mb": each.memory_mb, "gpus": [list(gpu) for gpu in each.gpus],
         "time_limit": each.time_limit}
        for each in offer.nodes
    ]  # fmt: skip
