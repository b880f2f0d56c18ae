"""The planner that ships, driven in virtual time: its order, fair share, predictions and promises. The only module of
the simulator that knows gflow's core; where that changes, this is what changes.

Looks at GPUs are always fresh: a decision is made in one step. Nobody has priorities, quotas or reservations, and of
the machine only the GPUs matter.
"""

from __future__ import annotations

import os
import sys

from simulation.policy import DAY, Told

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from gflowd.core.accounting import runtimes
from gflowd.core.accounting.fairshare import Shares
from gflowd.core.accounting.runtimes import Runtimes
from gflowd.core.job import codec, model
from gflowd.core.planning import backfill, promises
from gflowd.core.planning.backfill import Rules
from gflowd.core.planning.capacity import Capacity, Device
from gflowd.core.planning.occupancy import Occupancy, hold
from gflowd.core.planning.promises import Basis
from gflowd.core.queue.order import PriorityOrder, Seat, Walker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from simulation.workload import Job

DEPTH = 1000  # `[scheduler] backfill_depth` by default
PROMISE_AFTER, PROMISE_WITHIN = 1.0, 3 * DAY  # `[scheduler]` by default
SHARES = Shares(enabled=True, half_life=7 * DAY, cpu_weight=0.05)  # `[scheduler.fair_share]` by default


class Gflow:
    """A policy. `promise_after`: how often as long as it runs a job waits before it is promised a start;
    `promise_within`: the seconds that it waits at most.
    """

    def __init__(self, gpus: int, promise_after: float = PROMISE_AFTER, promise_within: float = PROMISE_WITHIN) -> None:
        self._after = promise_after
        self._within = promise_within
        self._capacity = Capacity(tuple(Device(index) for index in range(gpus)), cpus=0, memory_mb=0)
        self._jobs: dict[int, Job] = {}  # those that wait or run, as in the workload
        self._queued: dict[int, model.Job] = {}
        self._line = PriorityOrder()
        self._live: dict[int, model.Job] = {}
        self._usage: dict[str, Any] = {}  # the records, as the scheduler keeps them
        self._runs: dict[str, Any] = {}
        self._promised: dict[int, Any] = {}
        self._expected: dict[int, float | None] = {}
        self._runtimes = Runtimes()

    def submit(self, job: Job, at: float) -> None:
        made = model.Job(job.id, _spec(job, at), model.Wish(), model.Queued())
        self._jobs[job.id], self._queued[job.id] = job, made
        self._line.add(made, self._seat(made))

    def started(self, job: model.Job, gpus: tuple[int, ...], at: float) -> None:
        """What the scheduler does when it starts a job on these GPUs."""
        self._line.drop(job, self._seat(job))
        del self._queued[job.id]
        self._promised.pop(job.id, None)
        run = model.Run(executor=model.PROCESS, launched_at=at, gpu_ids=gpus)
        self._live[job.id] = model.Job(job.id, job.spec, job.wish, model.Starting(run=run))

    def ended(self, job: Job, at: float) -> None:
        ended = self._live.pop(job.id)
        del self._jobs[job.id]
        run, spec = ended.run, ended.spec
        assert run is not None
        self._usage[job.user] = SHARES.record(self._usage.get(job.user), spec, run.launched_at, at)
        phase = model.Ended(state=model.FINISHED, ended_at=at, run=run, started_at=run.launched_at)
        lasted = runtimes.lasted(codec.encode_phase(phase))
        assert lasted is not None
        key = runtimes.record_id(spec)
        self._runs[key] = runtimes.record(self._runs.get(key), spec, lasted)
        if self._runtimes.take(key, self._runs[key]) is not None:  # now jobs of this name have a lane of their own
            whose = spec.user, spec.gpus
            alike = [each for each in self._queued.values() if (each.spec.user, each.spec.gpus) == whose]
            self._line.relabel(alike, None, spec.name)

    def decide(self, now: float) -> list[Job]:
        plan, basis = self._plan(now)
        for each in plan.promises:
            self._promised[each.job.id] = promises.renewed(self._promised.get(each.job.id), each, None, basis, now)
        for job, gpus in plan.starts:
            self.started(job, gpus, now)
        self._expected = {each.job.id: each.expected for each in plan.promises}
        return [self._jobs[job.id] for job, _ in plan.starts]

    def promises(self) -> Mapping[int, Told]:
        told = {}
        for job_id, record in self._promised.items():
            if record["at"] is not None:
                told[job_id] = Told(record["at"], certain=True)
            elif (expected := self._expected.get(job_id)) is not None:
                told[job_id] = Told(expected, certain=False)
        return told

    def _plan(self, now: float) -> tuple[backfill.Plan, Basis]:
        """What the planner says."""
        room = Occupancy(self._capacity, range(len(self._capacity.gpus or ())), now)
        ends = {}
        for job in self._live.values():
            assert job.run is not None
            length = self._runtimes.length(job)
            end = now + runtimes.remaining(length, now - job.run.launched_at)
            room.take(hold(job.spec, job.run.gpu_ids, end, certain=length.is_certain))
            ends[job.id] = end
        shares = SHARES.shares(SHARES.usage(self._usage, self._live.values(), now))
        walker = Walker(now, shares, lambda user, gpus, label: self._runtimes.predicted(user, gpus, label).seconds)

        def rule_out(job: model.Job, length: float, personal: bool) -> None:  # noqa: FBT001 -- as `Rules` has it
            self._line.rule_out(walker, job, length, personal=personal)

        rules = Rules(
            DEPTH,
            length=self._runtimes.length,
            promised={job_id: record["at"] for job_id, record in self._promised.items()},
            estimated=promises.estimates(self._promised),
            promise_after=self._after,
            promise_within=self._within,
            rule_out=rule_out,
        )
        return backfill.plan(self._in_order(walker), room, rules), Basis(ends=ends)

    def _in_order(self, walker: Walker) -> Iterator[model.Job]:
        first = sorted(self._promised, key=lambda job_id: (self._promised[job_id]["since"], job_id))
        pinned = [(self._queued[job_id], self._seat(self._queued[job_id])) for job_id in first]
        return (self._queued[job_id] for job_id in self._line.walk(walker, pinned))

    def _seat(self, job: model.Job) -> Seat:
        label = self._runtimes.label(job) if job.spec.time_limit is None else None
        return Seat(job.spec.submitted_at, label)


def _spec(job: Job, at: float) -> model.Spec:
    return model.Spec(
        command=("x",), name="x", user=job.user, cwd="/", env="e", submitted_at=at,
        gpus=job.gpus, cpus=0, time_limit=job.limit,
    )  # fmt: skip
