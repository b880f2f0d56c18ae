"""A made-up machine for the pure core: records as a snapshot has them, a job queue that follows them, and processes.

`tick` does with them what the scheduler does in one of its own: catch up, settle, plan, commit, launch.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from math import inf
from typing import Any

from support.specs import SPEC

from gflowd.core.execution import transitions
from gflowd.core.execution.observations import Observation
from gflowd.core.job import codec, reasons
from gflowd.core.job.arrays import Family
from gflowd.core.job.dependencies import Dependency, Needs
from gflowd.core.job.model import (
    Ended,
    Identity,
    Job,
    Phase,
    Queued,
    Run,
    Spec,
    Started,
    Starting,
    Stopping,
    Wish,
    is_live,
)
from gflowd.core.moment import Moment
from gflowd.core.planning import backfill, unsuspension
from gflowd.core.planning.backfill import Plan, Rules
from gflowd.core.planning.capacity import Capacity, Device
from gflowd.core.planning.occupancy import Occupancy, hold
from gflowd.core.queue.job_queue import JobQueue
from gflowd.core.queue.job_records import JobRecords

MACHINE = Capacity(gpus=(Device(0), Device(1), Device(2)), cpus=4, memory_mb=1000)
DEPTH = 1000

Key = tuple[int, int]
Changes = dict[int, tuple[Phase, ...]]


def needs(*ids: int, kind: str = "afterok", **fields: Any) -> Needs:
    return Needs(dependencies=tuple(Dependency(kind=kind, id=job_id) for job_id in ids), **fields)


def array(size: int, first: int = 1, **fields: Any) -> Family:
    return Family(ranges=((first, first + size - 1, 1),), **fields)


class World:
    def __init__(self, *, kill_strays: bool = True) -> None:
        self.specs: dict[int, Any] = {}
        self.wishes: dict[int, Any] = {}
        self.phases: dict[int, Any] = {}
        self.limits: dict[int, Any] = {}
        self.attempts: dict[str, Any] = {}
        self.drained = False
        self.kill_strays = kill_strays
        self.now = 100.0
        self.observations: dict[Key, Observation] = {}  # of every attempt that was launched
        self.overdue: set[Key] = set()
        self.running: dict[Key, Job] = {}  # attempts of which something lives, or may yet
        self.records = JobRecords(self.specs, self.wishes, self.phases, self.limits)
        self.job_queue = JobQueue(self.records)
        self._next_id = 1
        self._ids: list[int] = []  # of the specs, ascending
        self._spec_ids: set[int] = set()
        self._job_ids: set[int] = set()
        self._touched: set[int] = set()

    # What users do.

    def submit(self, spec: Spec = SPEC, **fields: Any) -> int:
        spec = spec.replace(**fields)
        job_id = self._next_id
        self._ids.append(job_id)
        self._next_id += 1 if spec.family is None else sum(last - first + 1 for first, last, _ in spec.family.ranges)
        self.update(job_id, spec)
        return job_id

    def update(self, spec_id: int, spec: Spec) -> None:
        self.specs[spec_id] = codec.encode(spec)
        self._spec_ids.add(spec_id)

    def forget(self, spec_id: int) -> None:
        """The history has it now, and its jobs."""
        del self.specs[spec_id]
        self._spec_ids.add(spec_id)

    def wish(self, job_id: int, **fields: Any) -> None:
        wish = self.job(job_id).wish.replace(**fields)
        if wish == Wish():
            self.wishes.pop(job_id, None)
        else:
            self.wishes[job_id] = codec.encode(wish)
        self._job_ids.add(job_id)

    def cancel(self, job_id: int) -> None:
        if not isinstance(self.job(job_id).phase, Ended):
            self.wish(job_id, cancelled_by="u", cancelled_at=self.now, requeued=0)

    def requeue(self, job_id: int) -> None:
        job = self.job(job_id)
        attempt = 0 if isinstance(job.phase, Queued) else attempt_of(job.phase)
        self.wish(job_id, cancelled_by=None, cancelled_at=None, requeued=max(job.wish.requeued, attempt))

    def suspend(self, job_id: int, *, releases_cpus: bool) -> None:
        job = self.job(job_id)
        if is_live(job.phase) and not isinstance(job.phase, Stopping):
            self.wish(job_id, suspended=attempt_of(job.phase), releases_cpus=releases_cpus)

    def unsuspend(self, job_id: int) -> None:
        self.wish(job_id, suspended=0, releases_cpus=False)

    # What is known.

    def ids(self) -> range:
        return range(1, self._next_id)

    def array_of(self, job_id: int) -> int | None:
        spec_id = self._ids[bisect_right(self._ids, job_id) - 1]
        return spec_id if "family" in self.specs[spec_id] else None

    def spec(self, job_id: int) -> Spec:
        return codec.decode_spec(self.specs[self.array_of(job_id) or job_id])

    def job(self, job_id: int) -> Job:
        spec, wish, phase = self.spec(job_id), self.wishes.get(job_id), self.phases.get(job_id)
        return codec.element(job_id, spec, wish, phase, self.array_of(job_id))

    def phase(self, job_id: int) -> Phase:
        return self.job(job_id).phase

    def state(self, job_id: int) -> str:
        return self.job(job_id).state

    def states(self) -> dict[int, str]:
        return {job_id: self.state(job_id) for job_id in self.ids()}

    def reason(self, job_id: int) -> str | None:
        phase = self.phase(job_id)
        assert isinstance(phase, Ended)
        return phase.reason

    # What the scheduler does.

    def catch_up(self) -> set[int]:
        touched = self.job_queue.refresh(self._spec_ids, self._job_ids)
        self._spec_ids, self._job_ids = set(), set()
        self._touched |= touched
        return touched

    def settle(self) -> None:
        self.catch_up()
        self.job_queue.settle(self._touched, self.now)
        self._touched = set()

    def rebuilt(self) -> JobQueue:
        """What another scheduler would make of the records."""
        job_queue = JobQueue(self.records)
        ids = job_queue.refresh(self.specs, ())
        job_queue.settle(ids, self.now)
        return job_queue

    def decide(self) -> tuple[Changes, Plan]:
        self.settle()
        now, job_queue = Moment(self.now, self.now, "boot"), self.job_queue
        changes: Changes = {}
        for job_id, why in job_queue.lost.items():
            changes[job_id] = (transitions.lose(job_queue.queued[job_id], why, now),)
        for job in job_queue.reopened.values():
            changes[job.id] = self._with_next_attempt(job, job.phase)
        for job in (*job_queue.live.values(), *job_queue.lingering.values(), *job_queue.unwanted()):
            key = (job.id, job.run.attempt) if job.run else (job.id, 0)
            observation, limit = self.observations.get(key), reasons.TIME_LIMIT if key in self.overdue else None
            after = transitions.settle(job, observation, now, limit=limit, kill_strays=self.kill_strays)
            if after is not None:
                changes[job.id] = self._with_next_attempt(job, after)
        live = [job for job in job_queue.live.values() if not _ends(changes.get(job.id))]
        for job in unsuspension.may_go_on(live, MACHINE.cpus):
            changes.setdefault(job.id, (transitions.go_on(job, now),))
        lingering = [
            *job_queue.lingering.values(),
            *(job for job in job_queue.live.values() if _lingers(changes.get(job.id))),
        ]
        kept = {index for job in lingering for index in (job.run.gpu_ids if job.run else ())}
        room = Occupancy(MACHINE, {0, 1, 2} - kept, now.wall)
        for job in live:
            spec = job.spec.replace(cpus=unsuspension.claimed_cpus(job))
            room.take(hold(spec, job.run.gpu_ids if job.run else (), inf, certain=False))
        queue = job_queue.queue(now.wall)
        waiting = () if self.drained else (job for job in queue if job.id not in changes)
        rules = Rules(DEPTH, length=job_queue.runtimes.length, ready=job_queue.ready, rule_out=queue.rule_out)
        plan = backfill.plan(waiting, room, rules)
        for job, why in plan.impossible:
            changes[job.id] = (transitions.reject(job, why, now),)
        for job, gpu_ids in plan.starts:
            attempt = job.phase.attempt if isinstance(job.phase, Queued) else 1
            run = Run(executor="tmux", attempt=attempt, gpu_ids=gpu_ids, launched_at=now.wall)
            changes[job.id] = (transitions.start(job, run),)
        return changes, plan

    def tick(self, meanwhile: Callable[[], None] | None = None) -> Changes:
        """One of the scheduler's; `meanwhile` comes between decision and commit. What was committed."""
        self.catch_up()
        changes, plan = self.decide()
        rules = dict(self.limits)
        if meanwhile is not None:
            meanwhile()
        touched = self.catch_up()
        if self.limits != rules:
            touched |= {job.id for job, _ in (*plan.starts, *plan.impossible)}
        done = {job_id: after for job_id, after in changes.items() if job_id not in touched}
        for job_id, after in done.items():
            before = self.phase(job_id)
            for past in after[:-1]:
                assert isinstance(past, Ended)
                self.attempts[f"{job_id}.{attempt_of(past)}"] = codec.encode_phase(past)
            self.phases[job_id] = codec.encode_phase(after[-1])
            self._job_ids.add(job_id)
            if isinstance(after[-1], Starting) and isinstance(before, Queued):
                key = (job_id, after[-1].run.attempt)
                self.observations[key] = Observation()
                self.running[key] = self.job(job_id)
        self.catch_up()
        return done

    def run_down(self, most: int) -> int:
        """Ticks until nothing more happens of itself; how many it took."""
        for count in range(most):
            if not self.tick():
                return count
        raise AssertionError(f"still busy after {most} ticks: {self.states()}")

    def _with_next_attempt(self, job: Job, after: Phase) -> tuple[Phase, ...]:
        now = Moment(self.now, self.now, "boot")
        following = transitions.again(job, after, now) if isinstance(after, Ended) else None
        return (after,) if following is None else (after, following)

    # What the processes do. A key is that of a launched attempt.

    def key(self, job_id: int) -> Key:
        return job_id, attempt_of(self.phase(job_id))

    def begin(self, key: Key) -> None:
        started = Started(at=self.now, mono=self.now, identity=Identity("boot", 10 * key[0] + key[1], 1))
        self.observations[key] = Observation(started=started, lives=True)

    def end(self, key: Key, status: int = 0) -> None:
        if self.observations[key].started is None:
            self.begin(key)
        self.observations[key] = self.observations[key].replace(
            lives=False, strays=False, status=status, ended_at=self.now, complete=True
        )
        self.running.pop(key, None)

    def leave_strays(self, key: Key, status: int) -> None:
        if self.observations[key].started is None:
            self.begin(key)
        self.observations[key] = self.observations[key].replace(
            lives=True, strays=True, status=status, ended_at=self.now
        )

    def vanish(self, key: Key) -> None:
        """Nothing of it is left, nor any record; before it began that is a launch that failed."""
        if self.observations[key].status is not None:
            self.end(key, self.observations[key].status)
            return
        begun = self.observations[key].started is not None
        self.observations[key] = self.observations[key].replace(lives=False, barred=not begun)
        self.running.pop(key, None)

    def stop(self) -> None:
        """What the ladder does to those that must end."""
        for job_id in self.ids():
            if isinstance(self.phase(job_id), Stopping) and self.key(job_id) in self.running:
                key = self.key(job_id)
                if self.observations[key].started is None:
                    self.vanish(key)
                else:
                    self.end(key, self.observations[key].status or 137)


def attempt_of(phase: Phase) -> int:
    if isinstance(phase, Queued):
        return phase.attempt
    return phase.last_attempt if isinstance(phase, Ended) else phase.run.attempt


def _ends(after: tuple[Phase, ...] | None) -> bool:
    return after is not None and isinstance(after[-1], Ended | Queued)


def _lingers(after: tuple[Phase, ...] | None) -> bool:
    return after is not None and isinstance(after[-1], Ended) and after[-1].lingers
