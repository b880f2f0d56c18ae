"""Lets suspended attempts stand still and go on again: by STOP and CONT for all their processes, or by the kernel's
freezer where an attempt has a control group. A part of the timeout enforcer.

`job.sh` is never stopped: it has the exit status to record, and tmux continues the process of a pane that is stopped,
together with its group. STOP goes to whatever runs, again and again while the attempt is suspended; that does no harm.
CONT goes to whatever is stopped, and is marked only after it was sent: an attempt that missed it would never go on.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from gflowd import log
from gflowd.core.execution import stop_ladder
from gflowd.effects.attempt import jobdir
from gflowd.effects.kernel import processes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gflowd.core.execution.observations import Key, LiveJob
    from gflowd.core.execution.procstat import Process
    from gflowd.core.moment import Moment
    from gflowd.paths import State
    from gflowd.workers.attempt_processes import Attempts

PASSES = 20  # over trees that fork while they are being stopped
TAKES_EFFECT = 0.001  # seconds between two passes
LOOK_AGAIN, RAREST_LOOK = 0.05, 5.0  # seconds: whether something of a suspended attempt runs; doubled at each look


class Suspender:
    """Remembers when to look again at which attempt, and which of them go on already."""

    def __init__(self, state: State, attempts: Attempts) -> None:
        self._state = state
        self._attempts = attempts
        self._groups = attempts.groups
        self._log = log.get("timeout_enforcer")
        self._looks: dict[Key, tuple[float, float]] = {}  # when to look again, and how long to wait after
        self._going: set[tuple[Key, int]] = set()  # attempts, and after how many pauses

    def tick(self, jobs: Iterable[LiveJob], now: Moment) -> float | None:
        """Stops what is to stand still, continues what is not; the monotonic time of the next look."""
        here = [job for job in jobs if job.runs_in(now.boot)]
        still = {job.key: job for job in here if job.suspended}
        self._looks = {key: self._looks.get(key, (now.mono, LOOK_AGAIN)) for key in still}
        self._stop([job for key, job in still.items() if now.mono >= self._looks[key][0]], now)
        moving = [job for job in here if job.pauses.count and not job.suspended]
        self._going &= {(job.key, job.pauses.count) for job in moving}
        self._go_on([job for job in moving if not self._goes(job)])
        return min((at for at, _ in self._looks.values()), default=None)

    def _stop(self, jobs: list[LiveJob], now: Moment) -> None:
        sent = self._send(jobs, signal.SIGSTOP)
        for job in jobs:
            _, wait = self._looks[job.key]
            if sent[job.key]:
                self._log.info("suspended", job=job.id, processes=sent[job.key])
                wait = LOOK_AGAIN
            self._looks[job.key] = now.mono + wait, min(wait * 2, RAREST_LOOK)

    def _frozen(self, job: LiveJob) -> set[int]:
        """The processes that the kernel keeps still; a STOP would outlast that."""
        groups = self._groups
        return groups.pids(job.key) if groups is not None and groups.freeze(job.key, frozen=True) else set()

    def _go_on(self, jobs: list[LiveJob]) -> None:
        if self._groups is not None:
            for job in jobs:
                self._groups.freeze(job.key, frozen=False)
        sent = self._send(jobs, signal.SIGCONT)
        for job in jobs:
            self._log.info("continued", job=job.id, processes=sent[job.key])
            self._going.add((job.key, job.pauses.count))
            try:
                jobdir.mark(self._state.attempt(*job.key), stop_ladder.continued(job.pauses.count))
            except OSError as error:
                self._log.warning("cannot mark", job=job.id, step="CONT", error=str(error))

    def _goes(self, job: LiveJob) -> bool:
        name = job.key, job.pauses.count
        if name in self._going or not jobdir.is_marked(
            self._state.attempt(*job.key), stop_ladder.continued(job.pauses.count)
        ):
            return name in self._going
        self._going.add(name)
        return True

    def _send(self, jobs: list[LiveJob], number: int) -> dict[Key, int]:
        """Sends STOP to every process that runs, or CONT to every one that is stopped; returns to how many of each job.
        Each gets it once. Passes are repeated until it has taken effect: a process that forks stops only afterwards.
        """
        told: dict[Key, set[tuple[int, int]]] = {job.key: set() for job in jobs}
        for _ in range(PASSES if jobs else 0):
            found = self._attempts.members(jobs)
            again = []
            for job in jobs:
                frozen = self._frozen(job) if number == signal.SIGSTOP else ()
                assert job.started is not None
                spared = {job.started.identity.pid, *frozen}
                whom = [p for p in found[job.key] if p.pid not in spared and _is_meant(p, number)]
                new = [p for p in whom if p.key not in told[job.key]]
                for process in new:
                    self._attempts.send(job, process, (number,))
                told[job.key].update(p.key for p in new)
                again += [job] if whom else []
            jobs = again
            if not jobs:
                break
            time.sleep(TAKES_EFFECT)
        return {key: len(whom) for key, whom in told.items()}


def _is_meant(process: Process, number: int) -> bool:
    """Whether a signal is for this process. CONT is also for those that STOP has yet to reach, or it would be lost."""
    return processes.is_to_stop(process) if number == signal.SIGCONT else not processes.stands_still(process)
