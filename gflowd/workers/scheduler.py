"""The only writer of phases: folds the snapshot, decides by the pure core, commits, then acts.

Every tick is the same, also the first after a crash: what is committed and not yet done is done again, which does no
harm. Nothing is acted upon that was not folded under the lock.
"""

from __future__ import annotations

import itertools
import os
import time
from typing import TYPE_CHECKING, Any

import orjson

from gflowd import log
from gflowd.core import codec, idleness, instants, reasons, reservations, transitions
from gflowd.core.book import Book
from gflowd.core.diary import Diary
from gflowd.core.errors import SystemFailed, TryAgain
from gflowd.core.model import PROCESS, TMUX, Ended, Job, Phase, Queued, Run, Running, Starting, Stopping
from gflowd.core.sights import Agenda, Enforced, Sight, live_job
from gflowd.effects.doorbell import POLL
from gflowd.effects.tmux import TmuxFailed, is_installed
from gflowd.lock import Lock
from gflowd.store import WORTH_COMPACTING, Commit, Follower, Store
from gflowd.workers.archivist import Archivist
from gflowd.workers.base import Turn
from gflowd.workers.launcher import Launcher
from gflowd.workers.observer import Observer, Waiting
from gflowd.workers.planner import Planner, Said, ends

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowd.core import gpu_orders
    from gflowd.core.moment import Moment
    from gflowd.core.schedule import Plan
    from gflowd.workers.base import Wiring
    from gflowd.workers.planner import Changes

SUCCESSION = 5.0  # seconds to wait for an orphan of a killed supervisor to be gone
LAST_SESSIONS = 2.5  # seconds; `job.sh` lingers no longer than two
RETRY = 1.0  # seconds after a commit that failed (disk full)
AT_ONCE = 2000  # jobs without resources that end at a time, so that the scheduler is never away for long
MISSED_POLLS = 3  # looks at the GPUs that may fail before idleness counts anew
LONGEST_BLINK = 30.0  # seconds between two looks that are noticed here; no worker sleeps longer than ten
REAP_AGAIN = 0.05  # seconds: `job.sh` ends just after it has said so
LOOK_ELSEWHERE = 5.0  # seconds: nobody rings when another daemon gives a GPU back

Key = tuple[int, int]


def open(wiring: Wiring) -> Scheduler:  # noqa: A001 -- the workers' protocol
    """The scheduler, alone: raises `TryAgain` when another lives on."""
    return Scheduler(wiring)


class Fenced(Exception):
    """Another scheduler has taken over."""


class Scheduler:
    """Decision: the agenda of the others. Its state is the book, which is the snapshot folded, and can be lost."""

    def __init__(self, wiring: Wiring) -> None:
        self._config = wiring.config
        self._log = log.get("scheduler")
        self._alone = Lock(wiring.state.scheduler_lock, SUCCESSION)
        self._alone.acquire()
        self._store = Store(wiring.state, wiring.config.lock_timeout, orjson.dumps)
        self._follower = Follower(self._store)
        self._archivist = Archivist(wiring.state, wiring.config)
        self._book = Book(self._archivist.past)
        self._diary = Diary(instants.zone(wiring.config.timezone))
        self._launcher = Launcher(wiring.state, wiring.runtime)
        self._executor = wiring.config.executor or (TMUX if is_installed() else PROCESS)
        self._observer = Observer(wiring, self._executor, self._launcher.memory_limits)
        self._planner = Planner(wiring.config)
        self._resumed: tuple[gpu_orders.Resumed, ...] = ()
        self._launched: set[Key] = set()
        self._idleness = idleness.Idleness()
        self._deferred: dict[Key, str] = {}  # starts that are to be tried again, and why
        self._retry_at: float | None = None
        self._trouble: str | None = None
        self._hurry = False
        self._touched: set[int] = set()
        self._generation = self._take_over()

    def tick(self, now: Moment, slots: dict[str, Any]) -> Turn:
        """Fold, decide, commit, act, tell."""
        self._hurry = False
        self._catch_up_or_put_back(now)
        plan = self._plan_and_commit(now, slots)
        self._launch(now)
        archive_at = self._archive(now)
        while self._store.notes:
            self._log.error("snapshot", note=self._store.notes.pop())
        agenda = self._agenda(now)
        if self._observer.is_due(now):
            self._note(plan, now, slots)
        wakes = [when for when in (self._observer.write(now), self._retry_at, archive_at) if when is not None]
        if self._launcher.reap() > len(agenda.live):
            wakes.append(now.mono + REAP_AGAIN)
        if self._hurry:
            wakes.append(now.mono)
        if self._planner.desk.elsewhere and plan.reasons:
            wakes.append(now.mono + LOOK_ELSEWHERE)
        rings = b"" if self._planner.poll_after is None and agenda.resumed == self._resumed else POLL
        self._resumed = agenda.resumed
        return Turn(agenda, None, min(wakes, default=None), rings=rings)

    def _note(self, plan: Plan, now: Moment, slots: dict[str, Any]) -> None:
        """Shows the observer what is so now."""
        waiting = Waiting(self._reasons(plan), lambda: self._planner.expected(self._book, self._said(), plan, now))
        jobs = {**self._book.live, **self._book.lingering}
        picture = self._planner.desk.picture(jobs, self._diary.windows, now.wall)
        self._observer.reserved = self._diary.windows
        capacity, stuck = self._planner.capacity(), _enforced(slots).stuck
        self._observer.note(self._book, waiting, capacity, picture, stuck, self._trouble)

    def close(self) -> None:
        """Leaves the tmux server running only while a job is in it."""
        if self._executor == TMUX:
            try:
                self._await_last_sessions()
                self._launcher.tmux.stop_when_empty()
            except TmuxFailed as error:
                self._log.warning("tmux server left", why=str(error))
        self._planner.desk.close()
        self._archivist.past.close()
        self._alone.release()

    def _await_last_sessions(self) -> None:
        """A session may outlast its job by a moment."""
        deadline = time.monotonic() + LAST_SESSIONS
        while not self._book.live and self._launcher.tmux.sessions() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _take_over(self) -> int:
        """Mends what is damaged, and fences off any scheduler before us."""
        with self._store.commit() as commit:
            self._catch_up()
            fold = self._follower.fold
            if fold.dropped:
                self._rewrite(commit)
            generation = 1 + int(fold.of("scheduler").get(0, {}).get("generation", 0))
            commit.put("scheduler", 0, {"generation": generation, "pid": os.getpid()})
        return generation

    def _catch_up(self) -> set[int]:
        """Follows the snapshot into the book; the ids that were touched."""
        keys = self._follower.catch_up()
        fold = self._follower.fold
        specs, wishes, phases = fold.of("spec"), fold.of("wish"), fold.of("phase")
        if keys is None:
            self._book = Book(self._archivist.past)
            ids = self._book.refresh(specs, (), specs, wishes, phases)
        else:
            spec_ids = [key for kind, key in keys if kind == "spec" and isinstance(key, int)]
            job_ids = [key for kind, key in keys if kind in ("wish", "phase") and isinstance(key, int)]
            ids = self._book.refresh(spec_ids, job_ids, specs, wishes, phases)
        self._book.set_limits(fold.of("limit"))
        if keys is None or any(kind == reservations.KIND for kind, _ in keys):
            self._diary.take(fold.of(reservations.KIND))
        self._archivist.note(phases if keys is None else ids, fold, self._book)
        self._touched |= ids
        return ids

    def _catch_up_or_put_back(self, now: Moment) -> None:
        """Somebody may have removed or overwritten the snapshot under us; then ours is the only copy."""
        try:
            self._catch_up()
        except SystemFailed as error:
            if self._trouble is None:
                self._log.error("snapshot lost", why=str(error))
            try:
                with self._store.commit(instead=self._follower.fold):
                    self._catch_up()
            except (SystemFailed, TryAgain) as failure:  # nothing is committed before it has been put back
                self._struggle(str(failure), now)

    def _plan_and_commit(self, now: Moment, slots: dict[str, Any]) -> Plan:
        """What was decided about a job that somebody touched meanwhile is dropped, and decided again next time."""
        changes, plan = self._decide(now, slots)
        if self._retry_at is not None and now.mono < self._retry_at:
            return plan
        try:
            if changes:
                self._commit(changes)
            self._look_after_snapshot()  # after: what it folds must not slip in between a decision and its commit
            self._retry_at = None
            self._trouble = self._trouble if self._deferred else None
        except (SystemFailed, TryAgain) as error:
            self._struggle(str(error), now)
        return plan

    def _struggle(self, why: str, now: Moment) -> None:
        """Takes note of a disk that does not take what we write; soon all is tried again."""
        if self._trouble != why:
            self._log.error("cannot write", why=why)
        self._trouble = why
        self._retry_at = now.mono + RETRY

    def _decide(self, now: Moment, slots: dict[str, Any]) -> tuple[Changes, Plan]:
        self._book.settle(self._touched, now.wall)
        self._touched = set()
        changes = self._settle(now, slots)
        self._diary.look(now.wall)
        plan = self._planner.plan(self._book, self._said(), changes, slots, now)
        self._follow_idleness(slots)
        for job, why in plan.impossible:
            changes[job.id] = (transitions.reject(job, why, now),)
        for job, gpu_ids in plan.starts:
            run = self._new_run(job, gpu_ids, now)
            if self._planner.desk.claim(run.gpu_uuids):
                changes[job.id] = (transitions.start(job, run),)
            else:
                plan.reasons[job.id] = reasons.RESOURCES  # another daemon was faster; the next tick gives back the rest
        return changes, plan

    def _follow_idleness(self, slots: dict[str, Any]) -> None:
        """Takes in how busy the last look found the GPUs of each attempt."""
        if self._config.idle_warn is None and self._config.idle_cancel is None:
            return
        desk, slot = self._planner.desk, slots.get("gpu_poller")
        held = {
            (job.id, job.run.attempt): desk.places(job.run) for job in self._book.live.values() if job.run is not None
        }
        utilisation = {gpu.index: gpu.utilisation for gpu in desk.seen or ()}
        if slot is not None:
            gap = max(MISSED_POLLS * self._config.poll_interval, LONGEST_BLINK)
            self._idleness = idleness.follow(self._idleness, held, utilisation, slot[1][0], gap)

    def _said(self) -> Said:
        of = self._follower.fold.of
        return Said(of("setting"), of("quota"), of("usage"), self._diary.coming)

    def _settle(self, now: Moment, slots: dict[str, Any]) -> Changes:
        """What has become of the live jobs, and of the queued ones that are no longer wanted or can never start."""
        sights = _sights(slots)
        enforced = _enforced(slots)
        too_idle = idleness.idle_for(self._idleness, self._config.idle_cancel)
        changes: Changes = {}
        for job in (*self._book.live.values(), *self._book.lingering.values()):
            key = (job.id, job.run.attempt) if job.run else None
            sight = sights.get(key)
            limit = enforced.exceeded(key) or (reasons.IDLE_GPUS if key in too_idle else None)
            after = transitions.settle(job, sight, now, limit=limit, kill_strays=self._config.kill_strays)
            if after is not None:
                changes[job.id] = _with_next_attempt(job, after)
        for job, phases in itertools.islice(self._without_resources(now), AT_ONCE):
            changes[job.id] = phases
        return changes

    def _without_resources(self, now: Moment) -> Iterator[tuple[Job, tuple[Phase, ...]]]:
        """What becomes of jobs that have none; there may be very many."""
        for job_id, why in self._book.lost.items():
            job = self._book.queued[job_id]
            yield job, (transitions.lose(job, why, now),)
        for job in self._book.reopened.values():
            yield job, _with_next_attempt(job, job.phase)
        for job in self._book.unwanted():
            after = transitions.settle(job, None, now)
            if after is not None:
                yield job, _with_next_attempt(job, after)

    def _drained(self) -> bool:
        return "drain" in self._follower.fold.of("setting")

    def _new_run(self, job: Job, gpu_ids: tuple[int, ...], now: Moment) -> Run:
        desk = self._planner.desk
        return Run(
            attempt=job.phase.attempt if isinstance(job.phase, Queued) else 1,
            executor=job.spec.executor or self._executor,
            gpu_ids=gpu_ids,
            gpu_uuids=desk.uuids(gpu_ids),
            by_uuid=bool(gpu_ids) and desk.counts_anew(),
            launched_at=now.wall,
        )

    def _commit(self, changes: Changes) -> None:
        """Writes the phases of jobs that nobody touched meanwhile, and keeps the ends of attempts that are followed by
        another; then takes them into the book.
        """
        with self._store.commit() as commit:
            touched = self._catch_up()
            self._check_generation()
            usage = dict(self._follower.fold.of("usage"))
            for job_id in [job_id for job_id in changes if job_id not in touched]:
                if job_id in self._book.live:
                    self._charge(self._book.live[job_id], changes[job_id][0], usage)
                for past in changes[job_id][:-1]:
                    commit.put("attempt", _attempt(job_id, past), codec.encode_phase(past))
                    self._tell(job_id, past)
                commit.put("phase", job_id, codec.encode_phase(changes[job_id][-1]))
                self._tell(job_id, changes[job_id][-1])
            for user, record in usage.items():
                if record is not self._follower.fold.of("usage").get(user):
                    commit.put("usage", user, record)
        # What an end sets free, in a group or among those who wait, is found by looking again; so is a retry.
        self._hurry = len(changes) >= AT_ONCE or not touched.isdisjoint(changes) or any(
            isinstance(after[-1], Queued) or (ends(after) and self._book.heeds_ends()) for after in changes.values()
        )
        self._catch_up()

    def _charge(self, job: Job, after: Phase, usage: dict[Any, Any]) -> None:
        """Adds what an attempt has used to its user's record, for fair share."""
        if isinstance(after, Ended) and after.started_at is not None:
            before = usage.get(job.spec.user)
            usage[job.spec.user] = self._planner.shares.record(before, job.spec, after.started_at, after.ended_at)

    def _check_generation(self) -> None:
        if self._follower.fold.of("scheduler").get(0, {}).get("generation") != self._generation:
            raise Fenced

    def _archive(self, now: Moment) -> float | None:
        """Moves ended jobs to the history; when to do so again, on the monotonic clock."""
        try:
            if self._archivist.copy(self._follower.fold, self._book, now):
                with self._store.commit() as commit:
                    self._catch_up()
                    self._check_generation()
                    for kind, key in self._archivist.leaving(self._follower.fold, self._book):
                        commit.put(kind, key, None)
                self._catch_up()
        except (SystemFailed, TryAgain) as error:
            self._archivist.put_off(now, error)
        return self._archivist.wake_at(now)

    def _tell(self, job_id: int, phase: Phase) -> None:
        match phase:
            case Starting(run=run):
                self._log.info("starts", job=job_id, gpus=",".join(map(str, run.gpu_ids)), executor=run.executor)
            case Stopping(why=why):
                self._log.info("stops", job=job_id, why=why)
            case Ended(state=state, reason=reason, exit_code=code):
                self._log.info("ended", job=job_id, state=state, reason=reason, exit_code=code)
            case Queued() | Running():
                pass

    def _launch(self, now: Moment) -> None:
        """Starts what is committed as starting, once in this process's life; again what was deferred."""
        starting = [
            (job, job.phase.run)
            for job in self._book.live.values()
            if isinstance(job.phase, Starting) and (job.id, job.phase.run.attempt) not in self._launched
        ]
        if starting:
            self._launcher.launch(starting)
        self._deferred = self._launcher.deferred if starting else {}
        if self._deferred:
            self._struggle(next(iter(self._deferred.values())), now)
        live = {(job.id, job.run.attempt) for job in self._book.live.values() if job.run}
        self._launched = live - self._deferred.keys()

    def _look_after_snapshot(self) -> None:
        """Sets a damaged snapshot aside, and rewrites one that is mostly superseded lines."""
        fold = self._follower.fold
        bloated = self._follower.offset > WORTH_COMPACTING and fold.lines > 2 * fold.live()
        if not fold.dropped and not bloated:
            return
        with self._store.commit() as commit:
            self._catch_up()
            self._rewrite(commit)

    def _rewrite(self, commit: Commit) -> None:
        fold = self._follower.fold
        if fold.dropped:
            self._log.error("snapshot was damaged", dropped="; ".join(fold.dropped)[:500])
            self._follower.rebase(commit.repair(fold))
        else:
            self._follower.rebase(commit.rewrite(fold))

    def _reasons(self, plan: Plan) -> dict[int, str]:
        """What holds the queued jobs, of each kind no more than anybody would read; and which leave their GPUs idle."""
        depth = self._config.backfill_depth
        held = plan.reasons
        if self._drained():
            held = dict.fromkeys(itertools.islice((job.id for job in self._book.queue()), depth), reasons.DRAINED)
        idle = (job_id for job_id, _ in idleness.idle_for(self._idleness, self._config.idle_warn))
        return held | self._book.waiting(depth) | dict.fromkeys(idle, reasons.IDLE_GPUS)

    def _agenda(self, now: Moment) -> Agenda:
        # A start that was put off has nothing yet to watch over, and its grace has not begun.
        started = (job for job in self._book.live.values() if not self._is_put_off(job))
        live = tuple(live_job(job, self._config.grace) for job in (*started, *self._book.lingering.values()))
        edges = sorted({*self._book.edges(now.wall), *self._diary.edges})
        return Agenda(live, tuple(edges), self._planner.poll_after, self._planner.desk.orders.resumed)

    def _is_put_off(self, job: Job) -> bool:
        return isinstance(job.phase, Starting) and (job.id, job.phase.run.attempt) in self._deferred


def _with_next_attempt(job: Job, after: Phase) -> tuple[Phase, ...]:
    """`after`, and the queue after it when the job is to be tried again."""
    following = transitions.again(job, after) if isinstance(after, Ended) else None
    return (after,) if following is None else (after, following)


def _attempt(job_id: int, past: Phase) -> str:
    """The id of the record of an attempt."""
    return f"{job_id}.{past.last_attempt if isinstance(past, Ended) else 1}"


def _sights(slots: dict[str, Any]) -> dict[Key | None, Sight]:
    slot = slots.get("zombie_detector")
    return {} if slot is None else dict(slot[0])


def _enforced(slots: dict[str, Any]) -> Enforced:
    slot = slots.get("timeout_enforcer")
    return Enforced() if slot is None else slot[0]
