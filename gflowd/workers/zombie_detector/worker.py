"""The state of each live job: begun, its exit record, whether any process lives, its log's last byte, or vanished.

Reads files and the kernel's lock, so a result written while no daemon ran reads the same as one just written.
A pidfd on each `job.sh` shows at once if it dies without a record; the sweep is the safety net.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowd import log
from gflowd.core.execution.observations import Observation, Observations
from gflowd.core.job.model import TMUX, Started, session_name
from gflowd.effects.attempt import jobdir
from gflowd.effects.kernel import processes
from gflowd.workers.base import Turn
from gflowd.workers.zombie_detector.relay_watch import RelayWatch

if TYPE_CHECKING:
    from gflowd.core.execution.observations import Key, LiveJob
    from gflowd.core.execution.procstat import Process
    from gflowd.core.job.model import Identity
    from gflowd.core.moment import Moment
    from gflowd.workers.base import Wiring, Worker
    from gflowd.workers.board_slots import Slots

BEGINS_WITHIN = 0.02  # seconds: when to check whether an attempt has begun; then after as long again
LOOK_AGAIN = 0.005  # seconds: between checks of an exit record with the lock still held; doubled at each check
STRAYS_AFTER = 0.04  # seconds of that: a process that still holds the lock is not just exiting
LOG_END_WAIVED = 2.0  # seconds after the exit record, when the session is gone and its log has no end, or when a pipe
# is empty that is still copied, since some stranger has it open
PIPE_WAIVED = 10.0  # seconds, when it is not empty: who copies it is stopped, or the stranger writes on
LONGEST_LOOK = 1.0  # seconds
LIST_EVERY = 1.0  # seconds between two calls of tmux

NOT_BEGUN = Observation()


@dataclass(slots=True)
class Watch:
    """What we remember about one attempt between checks."""

    directory: str
    since: float  # monotonic: when we first checked
    at_work: Observation | None = None  # the observation while its `job.sh` lives and has recorded nothing
    started: Started | None = None
    pidfd: int | None = None
    recorded: float | None = None  # monotonic: when we first saw its exit record
    wait: float = LOOK_AGAIN
    over: Observation | None = None  # it is complete, and no process of it will come back


@dataclass(frozen=True, slots=True)
class Look:
    """What the directory of an attempt says; `held` is read before `record`, so that no end is missed in between."""

    job: LiveJob
    watch: Watch
    held: bool
    record: jobdir.Record | None
    leader_lives: bool


def open(wiring: Wiring) -> Worker:  # noqa: A001 -- the workers' protocol
    """The detector."""
    if wiring.state.shared is not None:
        from gflowd.workers.zombie_detector.group_detector import GroupDetector  # of no use to others

        return GroupDetector(wiring)
    return ZombieDetector(wiring)


class ZombieDetector:
    """Decision: an observation of each live attempt that has begun, or should have. A finished one stays in it until
    something else changes, since each new decision makes its readers check everything.
    """

    def __init__(self, wiring: Wiring) -> None:
        self._state = wiring.state
        self._config = wiring.config
        self._runtime = wiring.runtime
        self._supervisor = wiring.supervisor
        self._log = log.get("zombie_detector")
        self._relays = RelayWatch(wiring.state)
        self._watches: dict[Key, Watch] = {}
        self._told = Observations()
        self._sessions: set[str] = set()
        self._listed_at = float("-inf")

    def tick(self, now: Moment, slots: Slots) -> Turn:
        """Checks every live job."""
        jobs = () if slots.agenda is None else slots.agenda.live
        self._forget_all_but({job.key for job in jobs})
        self._drop_ended_pidfds()
        observations: dict[Key, Observation] = {}
        looks = []
        for job in jobs:
            watch = self._watches.get(job.key)
            if watch is None:
                watch = self._watches[job.key] = Watch(self._state.attempt(*job.key), now.mono)
            seen = watch.over or self._begun(job, watch, now) or self._at_work(watch)
            if seen is None:
                looks.append(self._look(job, watch, now))
            else:
                observations[job.key] = seen
        observations |= self._judge(looks, now)
        for job in jobs:
            seen = observations[job.key]
            if job.relay is not None and seen.started is not None and not seen.complete:
                observations[job.key] = self._relays.with_its_end(seen, job)
        wakes = [now.mono + self._config.zombie_interval]
        for key in [key for key, observation in observations.items() if observation is NOT_BEGUN]:
            waited = now.mono - self._watches[key].since
            if waited < self._config.start_grace:
                del observations[key]
            wakes.append(now.mono + min(max(BEGINS_WITHIN, waited), LONGEST_LOOK))  # no ring announces this
        wakes += [self._next_look(look.watch, now) for look in looks if _is_open(look, observations[look.job.key])]
        watched = [watch.pidfd for watch in self._watches.values() if watch.pidfd is not None]
        if not observations.items() <= self._told.of_attempts.items():
            self._told = Observations(observations)
        return Turn(self._told, None, min(wakes), (*watched, *self._relays.watched()))

    def close(self) -> None:
        """Nothing to close."""

    def _forget_all_but(self, keys: set[Key]) -> None:
        for key in self._watches.keys() - keys:
            watch = self._watches.pop(key)
            self._drop_pidfd(watch)
        self._relays.forget_all_but(keys)

    def _begun(self, job: LiveJob, watch: Watch, now: Moment) -> Observation | None:
        """The observation of an attempt that has not begun; None for one that has, whose `started` is then known."""
        if watch.started is None and job.started is not None:  # it began before we ran
            watch.started = job.started
            watch.pidfd = processes.watch(job.started.identity, now.boot)
        if watch.started is not None:
            return None
        directory = watch.directory
        begun = jobdir.beginning(directory)
        if begun is None and now.mono - watch.since >= self._config.start_grace:
            self._bar(directory, job)
            begun = jobdir.beginning(directory)
        if begun is None:
            return NOT_BEGUN
        if begun.identity is None:
            return Observation(barred=True, trouble=begun.why)
        watch.started = Started(at=begun.at, mono=self._mono(begun.identity, now), identity=begun.identity)
        watch.pidfd = processes.watch(begun.identity, now.boot)
        return None

    def _mono(self, identity: Identity, now: Moment) -> float:
        return processes.started_mono(identity.start) if identity.boot == now.boot else 0.0

    def _at_work(self, watch: Watch) -> Observation | None:
        """The observation of an attempt whose `job.sh` lives and has recorded nothing; None for all others."""
        if watch.pidfd is None or jobdir.exit_record(watch.directory) is not None:
            return None
        if watch.at_work is None:
            watch.at_work = Observation(started=watch.started, lives=True)
        return watch.at_work

    def _look(self, job: LiveJob, watch: Watch, now: Moment) -> Look:
        assert watch.started is not None
        leader = watch.started.identity
        leader_lives = watch.pidfd is not None or processes.lives(leader, now.boot)
        held = leader.boot == now.boot and jobdir.is_held(watch.directory)
        return Look(job, watch, held, jobdir.exit_record(watch.directory), leader_lives)

    def _judge(self, looks: list[Look], now: Moment) -> dict[Key, Observation]:
        """The observations of attempts that have begun; those that seem to be over are searched in /proc, all in one
        pass.
        """
        over = [look for look in looks if self._seems_over(look, now)]
        found: dict[Key, list[Process]] = {}
        if over:
            marks = {look.job.key: (self._leader(look), self._mark(look)) for look in over}
            found = processes.members(marks, self._supervisor)
        return {look.job.key: self._observation(look, found.get(look.job.key), now) for look in looks}

    def _seems_over(self, look: Look, now: Moment) -> bool:
        if look.held:
            return False
        if look.record is None:
            return not look.leader_lives
        recorded = look.watch.recorded  # what keeps a log open may be found by its mark alone
        return self._log_is_complete(look, now) or (recorded is not None and now.mono - recorded >= STRAYS_AFTER)

    def _observation(self, look: Look, found: list[Process] | None, now: Moment) -> Observation:
        """`found` is None where it was not searched for: then nothing is over, whatever has happened since."""
        watch, record = look.watch, look.record
        if record is None:
            return Observation(started=watch.started, lives=look.held or look.leader_lives or bool(found))
        if watch.recorded is None:
            watch.recorded = now.mono
        others = processes.without(found or (), self._leader(look))
        strays = bool(others) or (look.held and now.mono - watch.recorded >= STRAYS_AFTER)
        lives = look.held or bool(others)
        complete = found is not None and not lives and self._log_is_complete(look, now)
        used = jobdir.noted(watch.directory) if complete else None
        seen = Observation(started=watch.started, lives=lives, strays=strays, complete=complete, used=used)
        observation = record.added_to(seen)
        watch.over = observation if observation.complete else None
        return observation

    def _log_is_complete(self, look: Look, now: Moment) -> bool:
        """Whether the log and the output files have their last byte. A log without an end mark counts as complete once
        its session has long been gone, a pipe that strangers keep open once it has long been empty.
        """
        directory = look.watch.directory
        recorded = look.watch.recorded
        since = 0.0 if recorded is None else now.mono - recorded
        if not jobdir.is_copied(directory) and since < (
            LOG_END_WAIVED if jobdir.has_drained(directory) else PIPE_WAIVED
        ):
            return False
        if look.job.executor != TMUX or jobdir.log_has_ended(directory):
            return True
        return since >= LOG_END_WAIVED and session_name(*look.job.key) not in self._tmux_sessions(now)

    def _tmux_sessions(self, now: Moment) -> set[str]:
        """All sessions, queried rarely: a stopped server keeps us waiting for seconds."""
        if now.mono >= self._listed_at + LIST_EVERY:
            from gflowd.effects.attempt.tmux import Tmux  # libtmux is heavy, and this is rare

            self._sessions = Tmux(self._runtime.tmux_socket, self._runtime.root).sessions()
            self._listed_at = now.mono
        return self._sessions

    def _next_look(self, watch: Watch, now: Moment) -> float:
        """When to check an exiting attempt again; more rarely each time."""
        wait, watch.wait = watch.wait, min(watch.wait * 2, LONGEST_LOOK)
        return now.mono + wait

    def _leader(self, look: Look) -> Identity | None:
        return look.watch.started.identity if look.watch.started else None

    def _mark(self, look: Look) -> processes.Mark:
        return processes.job_mark(self._state.root, *look.job.key)

    def _drop_ended_pidfds(self) -> None:
        watched = {watch.pidfd: watch for watch in self._watches.values() if watch.pidfd is not None}
        for pidfd in processes.ended(watched):
            self._drop_pidfd(watched[pidfd])

    def _drop_pidfd(self, watch: Watch) -> None:
        if watch.pidfd is not None:
            os.close(watch.pidfd)
            watch.pidfd = None

    def _bar(self, directory: str, job: LiveJob) -> None:
        with contextlib.suppress(OSError):
            if jobdir.bar(directory):
                self._log.warning("never began", job=job.id, attempt=job.attempt)


def _is_open(look: Look, observation: Observation) -> bool:
    """Whether an attempt is exiting and no ring will announce its end."""
    if observation.complete:
        return False
    return observation.is_recorded or not look.leader_lives
