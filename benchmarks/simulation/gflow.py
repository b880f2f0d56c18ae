"""The planner that ships, driven in virtual time: its order, fair share and promises. The only module of the simulator
that knows gflow's core; where that changes, this is what changes.

Looks at GPUs are always fresh: a decision is made in one step. Nobody has priorities, quotas or reservations, and of
the machine only the GPUs matter.
"""

from __future__ import annotations

import os
import sys
from math import inf

from simulation.policy import DAY, Told

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from gflowd.core import model, schedule
from gflowd.core.capacity import Capacity, Device
from gflowd.core.fairshare import Shares
from gflowd.core.line import Line
from gflowd.core.occupancy import Hold, Occupancy, hold
from gflowd.core.schedule import Rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from simulation.workload import Job

DEPTH = 1000  # `[scheduler] backfill_depth` by default
SHARES = Shares(enabled=True, half_life=7 * DAY, cpu_weight=0.05)  # `[scheduler.fair_share]` by default


class Gflow:
    """A policy. `promise_after`: how often as long as it runs a job waits before it is promised a start; None: as by
    default. Raises ValueError for what the planner cannot do.
    """

    def __init__(self, gpus: int, promise_after: float | None = None) -> None:
        if promise_after not in (None, 0):
            raise ValueError("the planner that ships promises at once: --promise-after 0")
        self._capacity = Capacity(tuple(Device(index) for index in range(gpus)), cpus=0, memory_mb=0)
        self._jobs: dict[int, Job] = {}  # those that wait or run, as in the workload
        self._queued: dict[int, model.Job] = {}
        self._line = Line()
        self._live: dict[int, model.Job] = {}
        self._holds: dict[int, Hold] = {}
        self._usage: dict[str, Any] = {}  # the records
        self._promise: schedule.Promise | None = None

    def submit(self, job: Job, at: float) -> None:
        made = model.Job(job.id, _spec(job, at), model.Wish(), model.Queued())
        self._jobs[job.id], self._queued[job.id] = job, made
        self._line.add(made)

    def started(self, job: model.Job, gpus: tuple[int, ...], at: float) -> None:
        """What the scheduler does when it starts a job on these GPUs."""
        del self._queued[job.id]
        self._line.drop(job)
        run = model.Run(executor=model.PROCESS, launched_at=at, gpu_ids=gpus)
        self._live[job.id] = model.Job(job.id, job.spec, job.wish, model.Starting(run=run))
        self._holds[job.id] = hold(job.spec, gpus, at + schedule.duration(job.spec))

    def ended(self, job: Job, at: float) -> None:
        ended, run = self._jobs.pop(job.id), self._live.pop(job.id).run
        assert run is not None
        del self._holds[job.id]
        self._usage[job.user] = SHARES.record(self._usage.get(job.user), _spec(ended, at), run.launched_at, at)

    def decide(self, now: float) -> list[Job]:
        plan = self._plan(now)
        self._promise = plan.promise
        for job, gpus in plan.starts:
            self.started(job, gpus, now)
        return [self._jobs[job.id] for job, _ in plan.starts]

    def promises(self) -> Mapping[int, Told]:
        promise = self._promise
        return {} if promise is None or promise.at == inf else {promise.job.id: Told(promise.at, certain=True)}

    def _plan(self, now: float) -> schedule.Plan:
        """What the planner says."""
        room = Occupancy(self._capacity, range(len(self._capacity.gpus or ())), now)
        for each in self._holds.values():
            room.take(each)
        usage = SHARES.usage(self._usage, self._live.values(), now)
        first = None if self._promise is None else self._promise.job
        ids = self._line.walk(usage, lambda _: None, first)
        return schedule.plan((self._queued[job_id] for job_id in ids), room, Rules(DEPTH))


def _spec(job: Job, at: float) -> model.Spec:
    return model.Spec(
        command=("x",), name="x", user=job.user, cwd="/", env="e", submitted_at=at,
        gpus=job.gpus, cpus=0, time_limit=job.limit,
    )  # fmt: skip
