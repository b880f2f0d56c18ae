"""Starts committed attempts of the daemon's own user: writes each one's directory and hands the batch to tmux or
detaches it.

Starting twice does no harm, since `job.sh` lets only one copy of itself begin; so there is nothing to remember.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gflowd.core.execution import job_script
from gflowd.core.job.model import TMUX, Job, Run, session_name
from gflowd.effects.attempt import detached, jobdir, relay_directory
from gflowd.effects.attempt.tmux import Session, Tmux, TmuxFailed, TmuxSilent
from gflowd.effects.kernel import cgroups
from gflowd.workers.scheduler.launching.starter import Launching, will_pass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gflowd.core.gpu.device import Gpu
    from gflowd.paths import Runtime, State
    from gflowd.workers.scheduler.upkeep.scratch import Scratch


SILENCES = 6  # calls in a row without an answer, after which tmux is taken for hung; on a busy machine it is only slow


class Launcher(Launching):
    """In one tmux server for all, and as process groups."""

    def __init__(self, state: State, runtime: Runtime, scratch: Scratch) -> None:
        super().__init__(state, runtime, scratch)
        self._cgroups = cgroups.find(state.root)
        self._tmux = Tmux(runtime.tmux_socket, runtime.root)
        self._silences = 0

    def has_sessions(self) -> bool:
        """Whether a session is there, of whichever job."""
        return bool(self._tmux.sessions())

    @property
    def memory_limits(self) -> str:
        """What enforces them: `cgroup`, the kernel, or `watch`, the timeout enforcer."""
        return "watch" if self._cgroups is None else "cgroup"

    def guard(self, gpus: tuple[Gpu, ...] | None, jobs: Iterable[Job]) -> None:
        """All belongs to one user."""

    @property
    def open_gpus(self) -> str | None:
        """That is as it should be."""
        return None

    def close(self) -> None:
        """The supervisor ends the tmux server."""

    def _start(self, jobs: list[tuple[Job, Run]]) -> None:
        in_tmux = [(job, run) for job, run in jobs if run.executor == TMUX]
        plain = [(job, run) for job, run in jobs if run.executor != TMUX]
        if in_tmux:
            self._launch_in_tmux(in_tmux)
        if plain:
            self._detach(plain)

    def _launch_in_tmux(self, jobs: list[tuple[Job, Run]]) -> None:
        room = self._tmux.room()
        if room is not None and room < len(jobs):
            self._defer(jobs[room:], "tmux may open no more files (ulimit -n of gflowd); jobs wait for others to end")
            jobs = jobs[:room]
            if not jobs:
                return
        sessions = [self._session(job, run) for job, run in jobs]
        try:
            complaints = self._tmux.start(sessions)
            there = self._tmux.listed() if complaints else set()
        except TmuxSilent as error:
            self._silences += 1
            hopeless = self._silences >= SILENCES or self._tmux.is_stopped()
            (self._bar_all if hopeless else self._defer)(jobs, str(error))
            return
        except TmuxFailed as error:
            (self._defer if will_pass(error.__cause__) else self._bar_all)(jobs, str(error))
            return
        self._silences = 0
        if complaints:
            self._log.warning("tmux complained", said="; ".join(complaints)[:500])
            missing = [(job, run) for job, run in jobs if session_name(job.id, run.attempt) not in there]
            self._bar_all(missing, f"tmux: {complaints[0]}")

    def _detach(self, jobs: list[tuple[Job, Run]]) -> None:
        batch = [detached.Detached(self._file(job, run, "job.sh"), self._file(job, run, "log")) for job, run in jobs]
        try:
            self._parent.start(batch)
        except OSError as error:
            self._defer(jobs, str(error))

    def _prepare(self, job: Job, run: Run) -> bool:
        directory = self._state.attempt(job.id, run.attempt)
        if jobdir.beginning(directory) is not None:
            return False
        if job.spec.relay is not None and not relay_directory.is_held(self._state.relay(job.spec.relay, job.spec.uid)):
            self._bar(job, run, "its gflowctl run has ended")
            return False
        launch = self._setup.launch(job, run, self._cgroup(job, run))
        jobdir.prepare(directory, job_script.job_script(launch), job_script.pipes(launch))
        return True

    def _bar_one(self, job: Job, run: Run, why: str) -> bool:
        return jobdir.bar(self._state.attempt(job.id, run.attempt), why)

    def _cgroup(self, job: Job, run: Run) -> str | None:
        if self._cgroups is None or job.spec.memory_mb is None:
            return None
        return self._cgroups.make((job.id, run.attempt), job.spec.memory_mb)

    def _session(self, job: Job, run: Run) -> Session:
        return Session(
            name=session_name(job.id, run.attempt),
            script=self._file(job, run, "job.sh"),
            log=self._file(job, run, "log"),
            log_end=self._file(job, run, "log.end"),
            bell=self._runtime.bell,
        )

    def _file(self, job: Job, run: Run, name: str) -> str:
        return os.path.join(self._state.attempt(job.id, run.attempt), name)
