"""Enforces time and memory limits, warns before time limits, lets suspended jobs stand still, and applies the stop
ladder to the process tree of each stopping job.

Each signal except KILL is marked in the attempt's directory before it is sent, so that no restart sends it twice.
`job.sh` comes last: it records the exit status.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from gflowd import log
from gflowd.core.execution import stop_ladder, time_limit
from gflowd.core.execution.observations import Enforced
from gflowd.core.syntax import signal_names
from gflowd.effects.attempt import jobdir
from gflowd.effects.kernel import processes
from gflowd.workers import attempt_processes
from gflowd.workers.base import Turn
from gflowd.workers.timeout_enforcer.log_limiter import LogLimiter
from gflowd.workers.timeout_enforcer.memory_watch import MemoryWatch
from gflowd.workers.timeout_enforcer.quiet_watch import QuietWatch
from gflowd.workers.timeout_enforcer.suspender import Suspender
from gflowd.workers.timeout_enforcer.usage_watch import UsageWatch

if TYPE_CHECKING:
    from gflowd.core.execution.observations import Key, LiveJob
    from gflowd.core.execution.procstat import Process
    from gflowd.core.job.model import EarlySignal
    from gflowd.core.moment import Moment
    from gflowd.workers.base import Wiring
    from gflowd.workers.board_slots import Slots

SIGNALS = {
    stop_ladder.INT: (signal.SIGINT, signal.SIGCONT),
    stop_ladder.TERM: (signal.SIGTERM, signal.SIGCONT),
    stop_ladder.KILL: (signal.SIGKILL,),
}
SWEEP_EVERY = 30.0  # seconds: for groups that have served
PASSES = 20  # passes over a tree that forks while it is being killed


def open(wiring: Wiring) -> TimeoutEnforcer:  # noqa: A001 -- the workers' protocol
    """The enforcer."""
    return TimeoutEnforcer(wiring)


class TimeoutEnforcer:
    """Decision: the attempts that exceed their limits, and those that survive KILL. Detail: what live ones used."""

    def __init__(self, wiring: Wiring) -> None:
        self._state = wiring.state
        self._attempts = attempt_processes.of(wiring)
        self._log = log.get("timeout_enforcer")
        self._logs = LogLimiter(wiring.state, wiring.config.log_max_size, self._attempts.of_users)
        self._kill_next: dict[Key, tuple[float, float]] = {}  # when KILL is due again, and how long to wait after
        self._told: dict[tuple[Key, str], tuple[int, int]] = {}  # what was logged of a step
        self._taken: set[tuple[Key, str]] = set()  # steps taken, including those whose mark could not be written
        self._groups = self._attempts.groups
        self._swept = float("-inf")
        self._memory = MemoryWatch(self._attempts)
        self._quiet = QuietWatch(self._attempts)
        self._usage = UsageWatch(self._attempts)
        self._suspender = Suspender(wiring.state, self._attempts)

    def tick(self, now: Moment, slots: Slots) -> Turn:
        """Sends due signals and returns when the next is due."""
        agenda = slots.agenda
        jobs = () if agenda is None else agenda.live
        overdue, stuck, wakes = [], [], []
        for job in jobs:
            limit = time_limit.deadline(job, now.boot)
            if limit is not None and now.mono >= limit:
                overdue.append(job.key)
            elif limit is not None:
                wakes.append(limit)
            if job.since_boot == now.boot and stop_ladder.is_unkillable(job, now.mono):
                stuck.append(job.key)
        # Before any signal that ends one: a parent that dies first makes of those stopped an orphaned group, which the
        # kernel hangs up (POSIX, 2.4.3 of _exit).
        if (look_at := self._suspender.tick(jobs, now)) is not None:
            wakes.append(look_at)
        wakes += self._stop([job for job in jobs if job.why is not None], now)
        wakes += self._warn([job for job in jobs if job.key not in overdue], now)
        over_memory, look_at = self._memory.tick(jobs, now)
        if look_at is not None:
            wakes.append(look_at)
        quiet, silent, look_at = self._quiet.tick(jobs, now)
        if look_at is not None:
            wakes.append(look_at)
        samples, look_at = self._usage.tick(jobs, now, slots.samples)
        if look_at is not None:
            wakes.append(look_at)
        keys = {job.key for job in jobs}
        if (look_again := self._logs.look(keys, now.mono)) is not None:
            wakes.append(look_again)
        if self._groups is not None and agenda is not None and now.mono >= self._swept + SWEEP_EVERY:
            self._groups.remove_all_but(keys)
            self._swept = now.mono
        self._attempts.forget_all_but(keys)
        self._taken = {(key, step) for key, step in self._taken if key in keys}
        self._told = {(key, step): told for (key, step), told in self._told.items() if key in keys}
        self._kill_next = {job.key: self._kill_next[job.key] for job in jobs if job.key in self._kill_next}
        found = Enforced(tuple(overdue), over_memory, tuple(stuck), quiet, silent)
        return Turn(found, samples, min(wakes, default=None))

    def close(self) -> None:
        """Removes the groups of jobs that no longer live."""
        if self._groups is not None:
            self._groups.close()

    def _warn(self, jobs: list[LiveJob], now: Moment) -> list[float]:
        """Sends the early signals that are due; returns when the next one is."""
        due, wakes = [], []
        for job in jobs:
            when = time_limit.warning(job, now.boot)
            if when is None or when > now.mono:
                wakes += [] if when is None else [when]
            elif self._mark(job, stop_ladder.EARLY):
                due.append(job)
        found = self._attempts.members(due)
        for job in due:
            assert job.early_signal is not None
            number = job.early_signal.number
            warned = self._warned(job, job.early_signal, found[job.key])
            sent = sum(self._attempts.send(job, each, (number,)) for each in warned)
            self._log.info("warned", job=job.id, signal=signal_names.name(number), processes=sent)
        return wakes

    def _warned(self, job: LiveJob, early: EarlySignal, found: list[Process]) -> list[Process]:
        """Whom an early signal goes to: the command, or those whom `processes.heeding` finds."""
        leader = self._attempts.identity(job)
        pid = None if leader is None else leader.pid
        if early.command_only:
            return [p for p in found if pid is not None and p.parent == pid]
        return processes.heeding(found, pid, early.number, slurm=job.slurm)

    def _stop(self, jobs: list[LiveJob], now: Moment) -> list[float]:
        """Takes every step that is due; returns when to check again."""
        due: dict[Key, list[str]] = {}
        wakes = []
        for job in jobs:
            if job.started is None:
                self._bar(job)
            mono_since = job if job.since_boot == now.boot else job.replace(since_mono=now.mono)
            due[job.key] = self._due(mono_since, now.mono)
            wakes += [when for _, when in stop_ladder.steps(mono_since) if when > now.mono]
        self._signal([job for job in jobs if due[job.key]], due, now)
        return [*wakes, *(self._kill_next[job.key][0] for job in jobs if job.key in self._kill_next)]

    def _due(self, job: LiveJob, mono: float) -> list[str]:
        due = []
        for step, when in stop_ladder.steps(job):
            if when > mono:
                continue
            if step == stop_ladder.KILL:
                again, wait = self._kill_next.get(job.key, (when, stop_ladder.KILL_AGAIN))
                if mono >= again:
                    due.append(step)
                    self._kill_next[job.key] = mono + wait, min(wait * 2, stop_ladder.KILL_AGAIN_AT_MOST)
            elif self._mark(job, step):
                due.append(step)
        return due

    def _signal(self, jobs: list[LiveJob], due: dict[Key, list[str]], now: Moment) -> None:
        """One pass over /proc for all; repeats passes while KILL still finds new processes."""
        for job in jobs:
            if stop_ladder.KILL in due[job.key]:
                self._attempts.kill(job, all_of_it=not stop_ladder.spares_leader(job, now.mono))
        reached: dict[tuple[Key, str], set[Key]] = {}  # by pid and start
        refused: dict[tuple[Key, str], set[Key]] = {}
        left = jobs
        for _ in range(PASSES if jobs else 0):
            found = self._attempts.members(left)
            again = []
            for job in left:
                targets = self._targets(job, found[job.key], now)
                for step in due[job.key]:
                    before = reached.setdefault((job.key, step), set())
                    sent = {each.key for each in targets if self._attempts.send(job, each, SIGNALS[step])}
                    deaf = {each.key for each in targets if processes.is_there(each)} - sent
                    refused.setdefault((job.key, step), set()).update(deaf)
                    if step == stop_ladder.KILL and not sent <= before:
                        again.append(job)
                    before |= sent
                due[job.key] = [step for step in due[job.key] if step == stop_ladder.KILL]
            left = again  # who was sent KILL forks no more, so a pass that finds nobody new is the last
            if not left:
                break
        for job in jobs:
            for step in [step for key, step in reached if key == job.key]:
                self._tell(job, step, len(reached[job.key, step]), len(refused[job.key, step]))

    def _tell(self, job: LiveJob, step: str, reached: int, refused: int) -> None:
        """Logs how many processes a step reached, and how many it may not signal, which are another user's by now: when
        that changes.
        """
        if self._told.get((job.key, step)) == (reached, refused):
            return
        self._told[job.key, step] = reached, refused
        self._log.info("signalled", job=job.id, signal=step, processes=reached, why=job.why)
        if refused:
            self._log.warning("may not signal", job=job.id, signal=step, processes=refused)

    def _targets(self, job: LiveJob, found: list[Process], now: Moment) -> list[Process]:
        """The processes of a job, without `job.sh` until KILL has had time to end the others."""
        if not stop_ladder.spares_leader(job, now.mono):
            return found
        return processes.without(found, self._attempts.identity(job))

    def _bar(self, job: LiveJob) -> None:
        try:
            self._attempts.bar(job)
        except OSError as error:
            self._log.warning("cannot bar", job=job.id, error=str(error))

    def _mark(self, job: LiveJob, step: str) -> bool:
        """Whether the step is still to be taken; if the mark cannot be written, it is taken anyway, once."""
        if (job.key, step) in self._taken:
            return False
        self._taken.add((job.key, step))
        try:
            return jobdir.mark(self._state.attempt(*job.key), step)
        except OSError as error:
            self._log.warning("cannot mark", job=job.id, step=step, error=str(error))
            return True
