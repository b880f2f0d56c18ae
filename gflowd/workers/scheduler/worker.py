"""The only writer of phases: folds the snapshot, decides by the pure core, commits, then acts.

Every tick is the same, even the first after a crash: what is committed and not yet done is done again, which does no
harm. It never acts on anything that was not folded under the lock.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import chain
from math import inf
from typing import TYPE_CHECKING

from gflowd import log
from gflowd.core.cluster import remote_transitions
from gflowd.core.errors import SystemFailed, TryAgain
from gflowd.core.execution import recurring_series, transitions
from gflowd.core.execution.observations import live_job
from gflowd.core.gpu import device_access
from gflowd.core.job import reasons
from gflowd.core.job.model import PROCESS, TMUX, Begun, Job, Queued, Running, Starting, Suspended
from gflowd.core.job.records import PROMISE, QUOTA, SETTING, USAGE
from gflowd.core.moment import Moment
from gflowd.core.planning import promises
from gflowd.effects.attempt.tmux import is_installed
from gflowd.effects.doorbell import POLL
from gflowd.storage.lock import Lock
from gflowd.workers import WORKERS, wanted
from gflowd.workers.base import Turn
from gflowd.workers.board_slots import SCHEDULER, Agenda
from gflowd.workers.scheduler import cluster_handover, due_transitions
from gflowd.workers.scheduler.cluster_handover import Handover
from gflowd.workers.scheduler.decision_log import DecisionLog
from gflowd.workers.scheduler.idle_watch import IdleWatch
from gflowd.workers.scheduler.launching.launcher import Launcher
from gflowd.workers.scheduler.observed_writer import ObservedWriter, Trouble, Waiting, status
from gflowd.workers.scheduler.planner import Planner, Said, ends, is_here
from gflowd.workers.scheduler.recorder import Recorder
from gflowd.workers.scheduler.upkeep import removals
from gflowd.workers.scheduler.upkeep.event_writer import EventWriter
from gflowd.workers.scheduler.upkeep.scratch import Scratch
from gflowd.workers.scheduler.upkeep.snapshot_follower import SchedulerState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowd.core.execution.observations import Key
    from gflowd.core.gpu import admin_state
    from gflowd.core.planning.backfill import Plan
    from gflowd.core.queue.job_queue import JobQueue
    from gflowd.workers.base import Wiring
    from gflowd.workers.board_slots import Slots
    from gflowd.workers.scheduler.launching.starter import Launching
    from gflowd.workers.scheduler.planner import Changes

SUCCESSION = 5.0  # seconds to wait for an orphan of a killed supervisor to be gone
LAST_SESSIONS = 2.5  # seconds; `job.sh` lingers no longer than two
ROUNDS = 2  # rounds of decisions in a tick: ends, then what these release
RETRY = 1.0  # seconds after a commit that failed (disk full)
REAP_AGAIN = 0.05  # seconds: `job.sh` ends just after it has said so
NET = 5.0  # seconds after which everything is looked at again, whatever has or has not rung


def open(wiring: Wiring) -> Scheduler:  # noqa: A001 -- the workers' protocol
    """The only scheduler: raises `TryAgain` if another still lives."""
    return Scheduler(wiring)


@dataclass(frozen=True, slots=True)
class Last:
    """The result of the last full check; until when it holds if nothing happens (monotonic); and its inputs: the number
    of changes from others, what the other workers had posted, and the offset between wall clock and monotonic clock.
    """

    plan: Plan
    agenda: Agenda
    news: int
    posted: Slots
    offset: float
    until: float
    wake_at: float

    def holds(self, now: Moment, slots: Slots, news: int) -> bool:
        """Whether the result would be the same."""
        if now.mono >= self.until or any(edge <= now.wall for edge in self.agenda.edges[:1]):
            return False
        is_same_clock = abs(now.wall - now.mono - self.offset) <= promises.TOLERANCE
        return is_same_clock and news == self.news and slots.without(SCHEDULER) == self.posted


class Scheduler:
    """Decision: the agenda of the others. Its state is the job queue, i.e. the folded snapshot, and can be lost."""

    def __init__(self, wiring: Wiring) -> None:
        self._config = wiring.config
        self._is_of_many = wiring.state.shared is not None
        self._log = log.get("scheduler")
        self._alone = Lock(wiring.state.scheduler_lock, SUCCESSION)
        self._alone.acquire()
        self._events = EventWriter(wiring)
        self._state = SchedulerState(wiring.state, wiring.config, self._alone.is_held, self._events.create)
        self._scratch = Scratch(wiring.state, wiring.config.tmp, removals.groups(wiring.state, wiring.config))
        if self._is_of_many:
            from gflowd.workers.scheduler.launching.shared_launcher import SharedLauncher

            self._launcher: Launching = SharedLauncher(wiring.state, wiring.runtime, self._scratch, wiring.config)
        else:
            self._launcher = Launcher(wiring.state, wiring.runtime, self._scratch)
        self._executor = wiring.config.executor or (TMUX if is_installed() else PROCESS)
        self._observed_writer = ObservedWriter(wiring, self._executor, self._launcher.memory_limits, self._state.meters)
        by_uuid = self._is_of_many and wiring.config.shared_enforce_gpus != device_access.OFF
        self._planner = Planner(wiring.config, self._state.calendar, by_uuid=by_uuid)
        self._decisions = DecisionLog()
        self._recorder = Recorder(self._state, self._planner, self._decisions)
        self._resumed: tuple[admin_state.Resumed, ...] = ()
        self._launched: set[Key] = set()
        self._last: Last | None = None
        self._idle = IdleWatch(wiring.config)
        self._handover = Handover(wiring.config) if wiring.config.clusters else None
        self._services = tuple(row.name for row in wanted(wiring.config, WORKERS) if not row.is_essential)
        self._deferred: dict[Key, str] = {}  # starts to try again, and why
        self._retry_at: float | None = None
        self._trouble: str | None = None
        self._hurry = False
        self._moved = False  # whether the last commit had a live job or a promise

    @property
    def _job_queue(self) -> JobQueue:
        return self._state.job_queue

    def tick(self, now: Moment, slots: Slots) -> Turn:
        """Fold, decide, commit, act, tell."""
        self._catch_up_or_put_back(now)
        if self._last is not None and self._retry_at is None and self._last.holds(now, slots, self._state.news):
            return self._show(self._last, now, slots)
        news, began = self._state.news, time.monotonic()
        for _ in range(ROUNDS):
            self._hurry = False
            plan = self._plan_and_commit(now, slots)
            if not self._hurry:
                break
        self._state.meters.decision.note(time.monotonic() - began)
        self._launch(now)
        told = self._events.tell(self._state, self._planner.gpus, self._planner.admin, now)
        sweep_at = self._scratch.sweep(self._job_queue.has, now.mono)
        archive_at = self._state.archive(now)
        self._state.tell()
        agenda = self._agenda(now)
        wake_at = min(self._wakes(plan, agenda, (archive_at, sweep_at), now), default=inf)
        rings = told + (b"" if agenda.poll_after is None and agenda.resumed == self._resumed else POLL)
        self._resumed = agenda.resumed
        until = now.mono if self._is_stale(plan) else min(now.mono + NET, wake_at)
        self._last = Last(plan, agenda, news, slots.without(SCHEDULER), now.wall - now.mono, until, wake_at)
        return self._show(self._last, now, slots, rings)

    def _wakes(self, plan: Plan, agenda: Agenda, cleaning: tuple[float | None, ...], now: Moment) -> Iterator[float]:
        """When to look again though nobody rings (monotonic); `cleaning`: for what is archived and removed."""
        yield from (when for when in (self._retry_at, self._events.retry_at, *cleaning) if when is not None)
        if self._launcher.reap() > len(agenda.live):
            yield now.mono + REAP_AGAIN
        if self._hurry:
            yield now.mono
        yield from self._planner.wakes(plan, now)
        yield from self._idle.wakes(now)
        if self._handover is not None and (due := self._handover.due) is not None:
            yield now.mono + max(due - now.wall, 0.0)

    def _is_stale(self, plan: Plan) -> bool:
        """Whether the commit may change when a promise can be kept."""
        return self._moved and bool(plan.promises or plan.guarded)

    def _show(self, last: Last, now: Moment, slots: Slots, rings: bytes = b"") -> Turn:
        """Shows gflowctl the result of the last decision; tries again later if that is not possible now."""
        is_due = now.mono >= self._observed_writer.due_at
        is_shown = is_due and self._write_status(last.plan, now, slots)
        wake_at = last.wake_at if is_shown else min(last.wake_at, self._observed_writer.due_at)
        return Turn(last.agenda, None, None if wake_at == inf else wake_at, rings=rings)

    def _write_status(self, plan: Plan, now: Moment, slots: Slots) -> bool:
        """Writes the current state, unless it is written already; returns whether the file is current."""
        why, line = self._line(plan, slots, now)
        waiting = Waiting(why, self._planner.told(self._job_queue, plan, line))
        told = status(
            self._job_queue,
            waiting,
            self._planner.capacity(),
            self._planner.picture(self._job_queue, now.wall),
            self._planner.reserved,
            self._state.next_id,
            slots.enforced.stuck,
            Trouble(
                self._trouble,
                slots.troubles(self._services),
                self._launcher.open_gpus or slots.gpu_report.logins,
                slots.sights,
                cluster_handover.told(self._config.clusters, slots.sights),
            ),
        )
        self._decisions.waits(told, self._job_queue)
        if not self._observed_writer.is_news(told) and not self._observed_writer.is_outdated(now):
            return True
        expected = self._planner.expected(self._job_queue, line, plan, now)  # costs more than the rest
        return self._observed_writer.write(told, expected, now)

    def close(self) -> None:
        """Releases everything. The supervisor ends the tmux server, whichever workers are up then."""
        if self._executor == TMUX:
            self._await_last_sessions()
        self._planner.close()
        self._launcher.close()
        self._events.close(Moment(time.time(), time.monotonic(), ""))
        self._state.close()
        self._alone.release()

    def _await_last_sessions(self) -> None:
        """Waits for sessions: one may outlast its job by a moment, and would keep the tmux server."""
        deadline = time.monotonic() + LAST_SESSIONS
        while not self._job_queue.live and self._launcher.has_sessions() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _catch_up_or_put_back(self, now: Moment) -> None:
        """The snapshot may have been removed or overwritten while we run; then ours is the only copy."""
        try:
            self._state.catch_up()
        except SystemFailed as error:
            if self._trouble is None:
                self._log.error("snapshot lost", why=str(error))
            try:
                self._state.put_back()
            except (SystemFailed, TryAgain) as failure:  # nothing is committed before it has been put back
                self._struggle(str(failure), now)

    def _plan_and_commit(self, now: Moment, slots: Slots) -> Plan:
        """Drops decisions about a job that was touched meanwhile, and makes them again next time; likewise the whole
        plan if a limit, quota, reservation or setting changed meanwhile.
        """
        changes, plan = self._decide(now, slots)
        if self._retry_at is not None and now.mono < self._retry_at:
            return plan
        try:
            promised = self._planner.promises(self._job_queue, self._said(), plan, now)
            self._decisions.looks(plan)
            left_out = self._recorder.record(changes, promised, plan, now) if changes or promised else set()
            self._hurry = self._is_to_look_again(changes, left_out)
            lives_on = (isinstance(after[-1], Begun) for after in changes.values())
            self._moved = bool(promised) or any(lives_on)
            self._planner.settled(left_out)
            self._state.look_after()  # after: what it folds must not slip in between a decision and its commit
            self._retry_at = None
            self._trouble = self._trouble if self._deferred else None
        except (SystemFailed, TryAgain) as error:
            self._struggle(str(error), now)
        return plan

    def _struggle(self, why: str, now: Moment) -> None:
        """Records that the disk refuses our writes; everything is tried again soon."""
        if self._trouble != why:
            self._log.error("cannot write", why=why)
        self._trouble = why
        self._retry_at = now.mono + RETRY

    def _decide(self, now: Moment, slots: Slots) -> tuple[Changes, Plan]:
        self._job_queue.settle(self._state.take_touched(), now.wall)
        self._idle.look(self._job_queue.live.values(), slots.gpu_report)
        cpus, kill_strays = self._planner.cpus, self._config.kill_strays
        changes = due_transitions.settle(
            self._job_queue, slots, self._idle.to_cancel(), now, cpus=cpus, kill_strays=kill_strays
        )
        plan = self._planner.plan(self._job_queue, self._said(), changes, slots, now)
        if self._handover is not None and self._planner.patient_until is None:
            self._handover.decide(self._job_queue, self._planner, plan, changes, slots, now, drained=self._is_drained)
            for job, name in plan.handed:
                unknown = recurring_series.why_not(job.spec)
                changes[job.id] = (
                    remote_transitions.hand_over(job, name, now)
                    if unknown is None
                    else transitions.reject(job, unknown, now),
                )
        for job, why in plan.impossible:
            changes[job.id] = (transitions.reject(job, why, now),)
        taken = []
        for job, gpu_ids in plan.starts:
            if (unknown := recurring_series.why_not(job.spec)) is not None:
                changes[job.id] = (transitions.reject(job, unknown, now),)
                taken.append(job.id)
                continue
            run = self._planner.claim(job, gpu_ids, self._executor, now)
            if run is not None:
                changes[job.id] = (transitions.start(job, run),)
            else:
                plan.reasons[job.id] = reasons.RESOURCES  # another daemon was faster; the next tick gives back the rest
                taken.append(job.id)
        plan.starts = [start for start in plan.starts if start[0].id not in taken]
        return changes, plan

    @property
    def _is_drained(self) -> bool:
        return "drain" in self._state.of(SETTING)

    def _said(self) -> Said:
        return Said(*map(self._state.of, (SETTING, QUOTA, USAGE, PROMISE)))

    def _is_to_look_again(self, changes: Changes, left_out: set[int]) -> bool:
        """Whether what was committed may let others start at once. What an end sets free, in a group or among those who
        wait, is found by looking again; so is a retry, and what a suspended job gives back.
        """
        return (
            len(changes) >= due_transitions.AT_ONCE
            or not left_out.isdisjoint(changes)
            or any(isinstance(after[-1], Queued | Suspended) for after in changes.values())
            or (any(map(ends, changes.values())) and (self._job_queue.heeds_ends() or self._job_queue.has_abroad))
            or (
                (self._job_queue.heeds_starts() or self._job_queue.has_abroad)
                and any(isinstance(after[-1], Running) for after in changes.values())
            )
        )

    def _launch(self, now: Moment) -> None:
        """Starts what is committed as starting, once in this process's life; deferred ones again."""
        starting = [
            (job, job.phase.run)
            for job in self._job_queue.live.values()
            if isinstance(job.phase, Starting)
            and job.phase.run.cluster is None
            and (job.id, job.phase.run.attempt) not in self._launched
        ]
        jobs = chain(self._job_queue.live.values(), self._job_queue.lingering.values())
        self._launcher.guard(self._planner.gpus, jobs)
        if starting:
            self._launcher.launch(starting)
        self._deferred = self._launcher.deferred if starting else {}
        if self._deferred:
            self._struggle(next(iter(self._deferred.values())), now)
        live = {(job.id, job.run.attempt) for job in self._job_queue.live.values() if job.run}
        self._launched = live - self._deferred.keys()

    def _line(self, plan: Plan, slots: Slots, now: Moment) -> tuple[dict[int, str], list[Job]]:
        """The reasons of queued jobs, a limited number of each kind, and the jobs that leave their GPUs idle;
        and the jobs that only wait for their turn, in order, with the first of each array.
        """
        depth = self._config.backfill_depth
        line = self._planner.in_line(self._job_queue, self._state.of(PROMISE), depth, now)
        if self._is_drained:
            held = dict.fromkeys((job.id for job in line), reasons.DRAINED)
        else:
            held = {job.id: why for job in line if (why := plan.why(job)) is not None}
        if self._handover is not None:
            held |= self._handover.reasons
        live = dict.fromkeys(self._idle.to_warn_of(), reasons.IDLE_GPUS)
        live |= dict.fromkeys((job_id for job_id, _ in slots.enforced.quiet), reasons.NO_OUTPUT)
        return held | self._job_queue.waiting(depth) | live, line

    def _agenda(self, now: Moment) -> Agenda:
        # A deferred start has nothing to watch yet, and its grace has not begun.
        started = (job for job in self._job_queue.live.values() if is_here(job) and not self._is_put_off(job))
        live = tuple(live_job(job, self._config.grace) for job in (*started, *self._job_queue.lingering.values()))
        edges = self._planner.edges(self._job_queue, now.wall)
        poll_after = max((at for at in (self._planner.poll_after, self._idle.poll_after(now)) if at), default=None)
        remote = () if self._handover is None else cluster_handover.remote(self._job_queue, self._config.grace)
        return Agenda(live, edges, poll_after, self._planner.resumed, remote)

    def _is_put_off(self, job: Job) -> bool:
        return isinstance(job.phase, Starting) and (job.id, job.phase.run.attempt) in self._deferred
