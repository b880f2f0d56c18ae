"""What the workers call instead of the kernel and the disk: the virtual jobs in the forms of `gflowd.effects`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from virtual_clock import BOOT, Clock
from virtual_jobs import Attempt, Jobs, Key

from gflowd.core.execution import signal_targets
from gflowd.core.execution.procstat import Process
from gflowd.core.execution.usage import Samples
from gflowd.core.job.model import Identity, Job, Run
from gflowd.effects.attempt.jobdir import Beginning, Record
from gflowd.effects.kernel import processes

FIRST_PIDFD = 1_000_000  # no descriptor of this process


class JobDirs:
    """As `effects.jobdir`. A directory is known by its last two names: the job's id and the attempt."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._keys: dict[str, Key] = {}

    def beginning(self, directory: str) -> Beginning | None:
        return self._jobs.beginning(self._key(directory))

    def exit_record(self, directory: str) -> Record | None:
        found = self._find(directory)
        return None if found is None else found.record

    def noted(self, directory: str) -> None:
        return None

    def log_has_ended(self, directory: str) -> bool:
        return True

    def is_copied(self, directory: str) -> bool:
        return True

    def is_held(self, directory: str) -> bool:
        found = self._find(directory)
        return found is not None and found.held

    def bar(self, directory: str, why: str = "") -> bool:
        return self._jobs.bar(self._key(directory), why)

    def mark(self, directory: str, step: str) -> bool:
        found = self._find(directory)
        if found is None or step in found.marks:
            return False
        found.marks.add(step)
        return True

    def _find(self, directory: str) -> Attempt | None:
        return self._jobs.attempts.get(self._key(directory))

    def _key(self, directory: str) -> Key:
        if directory not in self._keys:
            _, job_id, attempt = directory.rsplit("/", 2)
            self._keys[directory] = int(job_id), int(attempt)
        return self._keys[directory]


class Processes:
    """As `effects.processes`."""

    PAGE = processes.PAGE
    job_mark = staticmethod(processes.job_mark)
    without = staticmethod(processes.without)

    def __init__(self, jobs: Jobs, clock: Clock) -> None:
        self._jobs = jobs
        self._clock = clock
        self._pidfds: dict[int, int] = {}  # of living processes, by descriptor
        self._next = FIRST_PIDFD

    def boot_id(self) -> str:
        return BOOT

    def started_mono(self, start: int) -> float:
        return min((start + 1) / processes.TICKS, self._clock.mono)

    def read(self, pid: int) -> Process | None:
        owner = self._jobs.owners.get(pid)
        return None if owner is None else next(each for each in owner.processes if each.pid == pid)

    def is_there(self, process: Process) -> bool:
        return self.read(process.pid) is not None

    def lives(self, identity: Identity, boot: str) -> bool:
        found = self.read(identity.pid)
        return found is not None and found.start == identity.start

    def members(self, leaders: Mapping[Key, Any], spare: int) -> dict[Key, list[Process]]:
        attempts = self._jobs.attempts
        return {key: list(attempts[key].processes) if key in attempts else [] for key in leaders}

    def send(self, process: Process, numbers: Iterable[int]) -> bool:
        return self._jobs.send(process, numbers)

    def heeding(self, found: Iterable[Process], leader: int | None, number: int, *, slurm: bool) -> list[Process]:
        """Nothing here has a handler."""
        members = [signal_targets.Member(process, takes=False) for process in found if process.pid != leader]
        return signal_targets.chosen(members, leader, number, slurm=slurm)

    def memory(self, process: Process) -> int:
        return 0

    def lineage(self, pid: int, spare: int) -> tuple[Process, ...]:
        found = []
        while (process := self.read(pid)) is not None:
            found.append(process)
            pid = process.parent
        return tuple(found)

    def marked(self, pid: int, marks: Mapping[int, processes.Mark]) -> int | None:
        """Whose mark a process bears; all of an attempt bear its own."""
        owner = self._jobs.owners.get(pid)
        if owner is None:
            return None
        job_id, attempt = owner.key
        own = b"\0GFLOW_ATTEMPT=%d\0" % attempt
        return job_id if job_id in marks and own in marks[job_id] else None

    def user(self, pid: int) -> str:
        return "somebody"

    def watch(self, identity: Identity, boot: str) -> int | None:
        if not self.lives(identity, boot):
            return None
        self._next += 1
        self._pidfds[self._next] = identity.pid
        return self._next

    def ended(self, pidfds: Collection[int]) -> list[int]:
        return [pidfd for pidfd in pidfds if self._pidfds[pidfd] not in self._jobs.owners]

    def close(self, pidfd: int) -> None:
        """As `os.close`."""
        del self._pidfds[pidfd]

    def pidfds_of(self, pid: int) -> set[int]:
        """Those that become readable when a process ends."""
        return {pidfd for pidfd, each in self._pidfds.items() if each == pid}


class Launcher:
    """As the scheduler's launcher. `before` is called ahead of each batch, and may raise."""

    memory_limits = "watch"
    open_gpus = None

    def __init__(self, jobs: Jobs, before: Callable[[], None]) -> None:
        self._jobs = jobs
        self._before = before
        self.deferred: dict[Key, str] = {}

    def launch(self, batch: list[tuple[Job, Run]]) -> None:
        self._before()
        for job, run in batch:
            self._jobs.launch((job.id, run.attempt), run.gpu_ids)

    def guard(self, gpus: object, jobs: object) -> None:
        pass

    def reap(self) -> int:
        return 0

    def close(self) -> None:
        pass


class Claims:
    """As `effects.gpu.claims`, on a machine without other daemons."""

    def __init__(self, trusted: Iterable[int] = ()) -> None:
        pass

    def keep(self, uuids: Collection[str]) -> None:
        pass

    def take(self, uuid: str) -> bool:
        return True

    def others(self, uuids: Collection[str]) -> dict[str, int]:
        return {}

    def close(self) -> None:
        pass


class Usage:
    """As `UsageWatch`: what a virtual process uses is not sampled."""

    def __init__(self, *_: object) -> None: ...

    def tick(self, jobs: object, now: object, before: Samples) -> tuple[Samples, float | None]:
        return before, None


class Logs:
    """As the enforcer's `LogLimiter`: no log grows."""

    def __init__(self, *_: object) -> None:
        pass

    def look(self, keys: set[Key], mono: float) -> float | None:
        return None


class ClockWatch:
    """As `effects.clockwatch`: nobody sets the clock."""

    descriptors: tuple[int, ...] = ()

    def was_set(self) -> bool:
        return False

    def close(self) -> None:
        pass


class NoGroups:
    """As the module `effects.cgroups`, where there are none."""

    @staticmethod
    def find(state_root: str) -> None:
        return None
