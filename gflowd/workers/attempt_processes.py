"""What lives of an attempt, and how it is told apart from others: by its `job.sh` and its mark where all processes are
one user's; by its control group where they are of many, whom root must not confuse. For the timeout enforcer.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gflowd.core.execution import helper_processes
from gflowd.effects import proc
from gflowd.effects.attempt import jobdir
from gflowd.effects.kernel import cgroups, processes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gflowd.config.loader import Config
    from gflowd.core.execution.observations import Key, LiveJob
    from gflowd.core.execution.procstat import Process
    from gflowd.core.job.model import Identity
    from gflowd.effects.kernel.cgroups import Cgroups
    from gflowd.effects.shared_mode.job_groups import JobGroups
    from gflowd.paths import State
    from gflowd.workers.base import Wiring


NOBODY = -1


def of(wiring: Wiring) -> Attempts:
    """Those of this daemon."""
    if wiring.state.shared is not None:
        return GroupedAttempts(wiring.state, groups_of(wiring.state, wiring.config))
    return Attempts(wiring.state, cgroups.find(wiring.state.root), wiring.supervisor)


def groups_of(state: State, config: Config) -> JobGroups:
    """The groups of a daemon for many users. Raises OSError where there can be none."""
    from gflowd.effects.shared_mode import job_groups

    found = job_groups.find(state.root, by_systemd=config.shared_launcher == "systemd")
    if found is None:
        raise OSError("no control groups (version 2) that jobs can be put into")
    return found


class Attempts:
    """Those of one user. `groups`: their control groups, as far as there are some; `spare`: the daemon."""

    groups: Cgroups | JobGroups | None

    def __init__(self, state: State, groups: Cgroups | JobGroups | None, spare: int) -> None:
        self.of_users: JobGroups | None = None  # `groups`, where users must not be confused
        self._state = state
        self._spare = spare
        self.groups = groups

    def identity(self, job: LiveJob) -> Identity | None:
        """The job's `job.sh`; for a job that was stopped before it was seen to begin, from its directory."""
        if job.started is not None:
            return job.started.identity
        begun = jobdir.beginning(self._state.attempt(*job.key))
        return None if begun is None else begun.identity

    def bar(self, job: LiveJob) -> None:
        """Bars one from ever beginning that is to stop; not one that has begun. Raises OSError."""
        jobdir.bar(self._state.attempt(*job.key), job.why or "")

    def members(self, jobs: Iterable[LiveJob]) -> dict[Key, list[Process]]:
        """The living processes of each job."""
        leaders = {job.key: (self.identity(job), processes.job_mark(self._state.root, *job.key)) for job in jobs}
        return processes.members(leaders, self._spare) if leaders else {}

    def send(self, job: LiveJob, process: Process, signals: Iterable[int]) -> bool:  # noqa: ARG002 -- for others
        """Sends `signals` to a process of a job; False if it is gone."""
        return processes.send(process, signals)

    def forget_all_but(self, keys: set[Key]) -> None:
        """Nothing more will be asked about others."""

    def kill(self, job: LiveJob, *, all_of_it: bool) -> None:  # noqa: ARG002 -- for others
        """Sends KILL to what is in a job's group, if it has one; `all_of_it`: also to its `job.sh`."""
        if self.groups is not None:
            self.groups.kill(job.key)

    def has_starved(self, job: LiveJob) -> bool:  # noqa: ARG002 -- for others
        """Whether the kernel has ended a process of a job for its memory, and only that one."""
        return False

    def written(self, job: LiveJob) -> list[os.stat_result | None]:
        """The log of a job, and the other files that it writes to, as they are now; None for one that is not there."""
        return [_found(path) for path in (self._state.job_log(*job.key), *job.outputs)]


class GroupedAttempts(Attempts):
    """Those of many users: each has a group, from which none but root takes a process away."""

    groups: JobGroups

    def __init__(self, state: State, groups: JobGroups) -> None:
        super().__init__(state, groups, 0)
        self._keepers: dict[Key, set[tuple[int, int]]] = {}  # while `job.sh` was there: it ends just before them
        self.of_users = groups

    def identity(self, job: LiveJob) -> Identity | None:
        if job.started is not None:
            return job.started.identity
        from gflowd.effects.shared_mode import attempt_directory

        begun = attempt_directory.beginning(self._state, job.key, owner_of(job), self.groups)
        return None if begun is None else begun.identity

    def bar(self, job: LiveJob) -> None:
        from gflowd.effects.shared_mode import attempt_directory

        attempt_directory.bar(self._state, job.key, job.why or "", owner_of(job), self.groups)

    def members(self, jobs: Iterable[LiveJob]) -> dict[Key, list[Process]]:
        return {job.key: self._its(job, self._in_group(job)) for job in jobs}

    def send(self, job: LiveJob, process: Process, signals: Iterable[int]) -> bool:
        return processes.send(process, signals, lambda pid: self.groups.key_of(pid) == job.key)

    def forget_all_but(self, keys: set[Key]) -> None:
        self._keepers = {key: known for key, known in self._keepers.items() if key in keys}

    def kill(self, job: LiveJob, *, all_of_it: bool) -> None:
        there = self._in_group(job)
        its = {process.pid for process in processes.without(self._its(job, there), self.identity(job))}
        self.groups.kill(job.key, () if all_of_it else {process.pid for process in there} - its)

    def has_starved(self, job: LiveJob) -> bool:
        return self.groups.has_starved(job.key)

    def written(self, job: LiveJob) -> list[os.stat_result | None]:
        """Of other files those that its processes have open: root looks for none below a user's directories."""
        from gflowd.effects.shared_mode import user_files

        found: dict[str, os.stat_result | None] = dict.fromkeys(job.outputs)
        for process in self._in_group(job) if found else ():
            for descriptor, path in proc.opened_files(process.pid, found):
                found[path] = proc.opened(process.pid, descriptor) or found[path]
        return [user_files.found(self._state.own_attempt(*job.key), "log"), *found.values()]

    def _its(self, job: LiveJob, there: list[Process]) -> list[Process]:
        """Those in a job's group but for its keepers."""
        its = helper_processes.without(there, self.identity(job))
        if len(its) < len(there):
            self._keepers[job.key] = {process.key for process in there} - {process.key for process in its}
        known = self._keepers.get(job.key, set())
        return [process for process in its if process.key not in known]

    def _in_group(self, job: LiveJob) -> list[Process]:
        found = [processes.read(pid) for pid in self.groups.pids(job.key)]
        return [process for process in found if process is not None and not process.zombie]


def owner_of(job: LiveJob) -> int:
    """The user of a job of a daemon for many; nobody, to whom no file belongs, where its record says none."""
    return NOBODY if job.uid is None else job.uid


def _found(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None
