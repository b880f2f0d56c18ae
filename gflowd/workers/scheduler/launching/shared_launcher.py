"""Starts committed attempts of many users, each as its submitter, in a control group of its own: as a service of
systemd, or by a program of ours that asks PAM itself.

Root waits for none of them. Why one could not start is written to root's part of its directory, by the program that
tried. Starting twice does no harm, as in `launcher`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gflowd import paths
from gflowd.core.errors import Refused, SystemFailed, TryAgain
from gflowd.core.execution import job_script
from gflowd.core.job.model import TMUX, Job, Run, session_name
from gflowd.effects.attempt import relay_directory
from gflowd.effects.attempt.tmux import TmuxFailed
from gflowd.effects.kernel import cgroups
from gflowd.effects.shared_mode import (
    account,
    attempt_directory,
    first_step,
    job_groups,
    job_unit,
    pam_login,
    user_files,
)
from gflowd.workers.scheduler.launching.gpu_guard import GpuGuard
from gflowd.workers.scheduler.launching.starter import Launching

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gflowd.config.loader import Config
    from gflowd.core.execution.observations import Key
    from gflowd.core.gpu.device import Gpu
    from gflowd.effects.shared_mode.account import Account
    from gflowd.paths import Runtime, State
    from gflowd.workers.scheduler.upkeep.scratch import Scratch

SYSTEMD, OWN = "systemd", "own"
STOP_WITHIN = 10.0  # seconds from TERM to KILL where systemd is told to stop a job
PART_OF_GRACE = 0.8  # of the start grace, for which a job may wait for its user to have fewer processes
LOGIN = Path(pam_login.__file__).read_bytes()  # as it was when this daemon was started


class SharedLauncher(Launching):
    """One tmux server for each attempt that is to have a terminal."""

    def __init__(self, state: State, runtime: Runtime, scratch: Scratch, config: Config) -> None:
        super().__init__(state, runtime, scratch)
        self._config = config
        self._by_systemd = config.shared_launcher == SYSTEMD
        groups = job_groups.find(state.root, by_systemd=self._by_systemd)
        if groups is None:
            raise SystemFailed("this machine has no control groups (version 2), in which the jobs of users must run")
        self._groups = groups
        self._gpus = GpuGuard(state, config)
        self._programs: dict[Key, list[str]] = {}  # that start those which are prepared
        self._login = os.path.join(runtime.root, "pam_login.py")
        paths.replace_file(self._login, LOGIN, durable=False)

    def has_sessions(self) -> bool:
        """Every session is its job's, and ends with it."""
        return False

    @property
    def memory_limits(self) -> str:
        """What enforces them: `cgroup`, the kernel, or `watch`, the timeout enforcer."""
        return "cgroup" if cgroups.can_limit_memory() else "watch"

    def guard(self, gpus: tuple[Gpu, ...] | None, jobs: Iterable[Job]) -> None:
        """By filters on the groups of attempts."""
        self._gpus.look(gpus)
        self._gpus.keep({self._groups.path((job.id, job.run.attempt)): job.run for job in jobs if job.run is not None})

    @property
    def open_gpus(self) -> str | None:
        """Why attempts can open the GPUs of others, though they are not to."""
        return self._gpus.trouble

    def close(self) -> None:
        """The filters stay."""
        self._gpus.close()

    def _start(self, jobs: list[tuple[Job, Run]]) -> None:
        programs, self._programs = self._programs, {}
        try:
            self._parent.start_programs([programs[job.id, run.attempt] for job, run in jobs])
        except OSError as error:
            self._defer(jobs, str(error))

    def _prepare(self, job: Job, run: Run) -> bool:
        key = job.id, run.attempt
        if not self._groups.are_mounted:
            raise TryAgain("cgroup v2 is not mounted any more, and every job must run in a group of its own")
        owner = account.of_submitter(job.spec.uid, job.spec.user)
        if not owner.uid and not self._config.shared_allow_root:
            raise Refused("jobs of root are not allowed ([shared] allow_root)")
        if attempt_directory.beginning(self._state, key, owner.uid, self._groups) is not None:
            return False
        if job.spec.relay is not None and not relay_directory.is_held(
            self._state.relay(job.spec.relay, owner.uid), user_files.pipe_opener(owner.uid)
        ):
            raise Refused("its gflowctl run has ended")
        launch = self._setup.launch(job, run, self._groups.path(key), owner)
        attempt_directory.prepare(self._state, key, job_script.job_script(launch), (owner.uid, owner.gid))
        self._programs[key] = self._program(job, run, self._first_step(key, run, owner), owner)
        return True

    def _first_step(self, key: Key, run: Run, owner: Account) -> tuple[str, ...]:
        if run.executor != TMUX:
            return first_step.command(first_step.write(self._state, key, owner))
        try:
            name = session_name(*key)
            return first_step.command(first_step.write_in_tmux(self._state, key, name, owner))
        except TmuxFailed as error:
            raise Refused(str(error)) from None

    def _program(self, job: Job, run: Run, command: tuple[str, ...], owner: Account) -> list[str]:
        """What root runs to start an attempt. Raises OSError."""
        key = job.id, run.attempt
        service, no_new_privs = self._config.shared_pam_service, self._config.shared_no_new_privs
        barred = os.path.join(self._state.attempt(*key), job_script.BARRED)
        who = [service, owner.name, str(owner.uid), str(owner.gid), barred]
        login = [sys.executable, "-I", "-S", self._login, *who]
        if not self._by_systemd:
            group = self._groups.make(key, job.spec.memory_mb)
            self._gpus.put(group, run)
            patience = PART_OF_GRACE * self._config.start_grace
            return [*login, group, "1" if no_new_privs else "0", f"{patience:g}", *command]
        start = job_unit.start(
            job_groups.unit(key), owner.uid, command,
            description=f"job {job.id} of gflow, attempt {key[1]}", service=service, memory_mb=job.spec.memory_mb,
            no_new_privs=no_new_privs, start_within=self._config.start_grace, kill_after=STOP_WITHIN,
            more=self._gpus.unit_properties(run),
        )  # fmt: skip
        return job_unit.program(start, login, barred)

    def _bar_one(self, job: Job, run: Run, why: str) -> bool:
        return attempt_directory.bar(self._state, (job.id, run.attempt), why, job.spec.uid or 0, self._groups)
