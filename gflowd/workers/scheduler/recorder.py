"""Writes into the snapshot what was decided, and tells the log of it. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gflowd import log
from gflowd.core.accounting import runtimes
from gflowd.core.execution import recurring_series
from gflowd.core.job import codec
from gflowd.core.job.model import Ended, Job, Phase, Queued, Running, Starting, Stopping, Suspended
from gflowd.core.job.records import ATTEMPT, PHASE, PROMISE, RUNS, SPEC, USAGE
from gflowd.core.planning import promises
from gflowd.workers.scheduler.planner import is_here

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gflowd.core.accounting.runtimes import Runtimes
    from gflowd.core.moment import Moment
    from gflowd.core.planning.backfill import Plan
    from gflowd.workers.scheduler.decision_log import DecisionLog
    from gflowd.workers.scheduler.planner import Changes, Planner
    from gflowd.workers.scheduler.upkeep.snapshot_follower import SchedulerState

Promised = dict[int, "Mapping[str, Any] | None"]  # the records of promises that change, by job; None: it is gone


class Recorder:
    """The scheduler's pen: `record` alone commits phases."""

    def __init__(self, state: SchedulerState, planner: Planner, decisions: DecisionLog) -> None:
        self._state = state
        self._planner = planner
        self._decisions = decisions
        self._log = log.get("scheduler")

    def record(self, changes: Changes, promised: Promised, plan: Plan, now: Moment) -> set[int]:
        """Writes the phases and promises of jobs that nobody touched meanwhile, and keeps the ends of attempts that are
        followed by another, and the next runs of series; then takes them into the job queue. The jobs that were left
        out.
        """
        with self._state.change() as (commit, meanwhile):
            left_out = set(meanwhile.jobs)
            if meanwhile.rules:
                left_out.update(promised, (job.id for job, _ in (*plan.starts, *plan.impossible, *plan.handed)))
            self._decisions.decided(plan, left_out, self._state.job_queue, now)
            for job_id, record in promised.items():
                if job_id not in left_out:
                    self._tell_promise(job_id, record)
                    commit.put(PROMISE, job_id, record)
            decided = {job_id: phases for job_id, phases in changes.items() if job_id not in left_out}
            for job_id, phases in decided.items():
                for past in phases[:-1]:
                    commit.put(ATTEMPT, _attempt(job_id, past), codec.encode_phase(past))
                    self._tell(job_id, past)
                commit.put(PHASE, job_id, codec.encode_phase(phases[-1]))
                self._tell(job_id, phases[-1])
                self._follow_up(job_id, phases, commit.allocate, commit.put)
                if isinstance(phases[-1], Starting) and phases[-1].run.cluster is None:
                    self._settle_size(job_id, commit.put)
            self._charge(decided, commit.put)
        return left_out

    def _follow_up(
        self, job_id: int, phases: tuple[Phase, ...], allocate: Callable[[], int], put: Callable[[str, int, Any], None]
    ) -> None:
        """Adds the next run of a series."""
        job = self._state.job_queue.queued.get(job_id)
        spec = None if job is None else recurring_series.following(job, phases)
        if spec is not None:
            following = allocate()
            put(SPEC, following, codec.encode(spec))
            self._log.info("next run", job=following, after=job_id, at=spec.begin_at)

    def _settle_size(self, job_id: int, put: Callable[[str, int, Any], None]) -> None:
        """Writes how much of the machine a job gets that asked for all of it."""
        job = self._state.job_queue.queued.get(job_id)
        if job is None or not (job.spec.exclusive or job.spec.all_memory):
            return
        spec_id = job_id if job.array_id is None else job.array_id
        encoded = codec.encode(job.spec)
        if encoded != self._state.of(SPEC).get(spec_id):
            put(SPEC, spec_id, encoded)

    def _charge(self, decided: Changes, put: Callable[[str, int | str, Any], None]) -> None:
        """Adds what attempts have used to the records of their users (for fair share), and how long they ran to the
        records of similar jobs (for predictions).
        """
        job_queue = self._state.job_queue
        usage, runs = dict(self._state.of(USAGE)), dict(self._state.of(RUNS))
        for job_id, phases in decided.items():
            job, after = job_queue.live.get(job_id), phases[0]
            if job is None or not isinstance(after, Ended) or after.started_at is None or not is_here(job):
                continue  # a cluster has a fair share of its own, and machines of another speed
            usage[job.spec.user] = self._planner.charge(usage.get(job.spec.user), job.spec, after)
            self._learn(job, after, job_queue.runtimes, runs)
        for kind, records in ((USAGE, usage), (RUNS, runs)):
            before = self._state.of(kind)
            for key, record in records.items():
                if record is not before.get(key):
                    put(kind, key, record)

    def _learn(self, job: Job, after: Ended, known: Runtimes, runs: dict[Any, Any]) -> None:
        spec, run = job.spec, runtimes.lasted(codec.encode_phase(after))
        if run is None:
            return
        if (outdated := known.outdated(spec.user, spec.gpus, spec.name)) is not None:
            runs[outdated] = None
        key = runtimes.record_id(spec)
        runs[key] = runtimes.record(runs.get(key), spec, run)

    def _tell_promise(self, job_id: int, record: Mapping[str, Any] | None) -> None:
        before = self._state.of(PROMISE).get(job_id)
        self._decisions.promised(job_id, before, record)
        if record is not None and promises.has_moved(before, record):
            self._log.warning("promise moved", job=job_id, was=record["was"], at=record["at"], why=record["cause"])

    def _tell(self, job_id: int, phase: Phase) -> None:
        match phase:
            case Starting(run=run) if run.cluster is not None:
                self._log.info("handed over", job=job_id, cluster=run.cluster, id=run.cluster_id)
            case Starting(run=run):
                self._log.info("starts", job=job_id, gpus=",".join(map(str, run.gpu_ids)), executor=run.executor)
            case Stopping(why=why):
                self._log.info("stops", job=job_id, why=why)
            case Ended(state=state, reason=reason, exit_code=code):
                self._log.info("ended", job=job_id, state=state, reason=reason, exit_code=code)
            case Suspended(without_cpus=without):
                self._log.info("suspended", job=job_id, cpus_given_back=without)
            case Running(pauses=pauses) if pauses.count:
                self._log.info("goes on", job=job_id, suspended=round(pauses.seconds, 1))
            case Queued() | Running():
                pass


def _attempt(job_id: int, past: Phase) -> str:
    """The id of the record of an attempt."""
    return f"{job_id}.{past.last_attempt if isinstance(past, Ended) else 1}"
