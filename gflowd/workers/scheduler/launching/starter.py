"""What all ways to start committed attempts have in common: what cannot be started is barred with the reason, so that
it fails, and what only a full disk or process table prevents is deferred.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from gflowd import log
from gflowd.core.errors import GflowError, TryAgain
from gflowd.effects.attempt import detached
from gflowd.workers.scheduler.launching.job_setup import JobSetup

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gflowd.core.gpu.device import Gpu
    from gflowd.core.job.model import Job, Run
    from gflowd.paths import Runtime, State
    from gflowd.workers.scheduler.upkeep.scratch import Scratch

# What a disk says that may be well again: no fault of the job's.
BAD_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)  # for files or processes, for now


class Launching(ABC):
    """Starts batches of attempts. `deferred`: those of the last batch that the machine had no space for, and why."""

    def __init__(self, state: State, runtime: Runtime, scratch: Scratch) -> None:
        self._state = state
        self._runtime = runtime
        self._setup = JobSetup(state, runtime, scratch)
        self._log = log.get("scheduler")
        self._parent = detached.Parent()
        self.deferred: dict[tuple[int, int], str] = {}

    def launch(self, jobs: list[tuple[Job, Run]]) -> None:
        """Starts every attempt, or bars or defers it."""
        self.deferred = {}
        self._start([(job, run) for job, run in jobs if self._is_prepared(job, run)])

    @abstractmethod
    def _start(self, jobs: list[tuple[Job, Run]]) -> None:
        """Starts those that are prepared."""

    @abstractmethod
    def _prepare(self, job: Job, run: Run) -> bool:
        """Writes what an attempt needs; False for one that has begun, or never will. Raises OSError, `GflowError`."""

    @abstractmethod
    def _bar_one(self, job: Job, run: Run, why: str) -> bool:
        """Bars an attempt from ever beginning; False if it has begun. Raises OSError."""

    @abstractmethod
    def has_sessions(self) -> bool:
        """Whether a session of tmux is there that may outlast its job, of whichever job."""

    @property
    @abstractmethod
    def memory_limits(self) -> str:
        """What enforces them: `cgroup`, the kernel, or `watch`, the timeout enforcer."""

    @abstractmethod
    def guard(self, gpus: tuple[Gpu, ...] | None, jobs: Iterable[Job]) -> None:
        """Sees to it that only those who were given the GPUs of the machine (None: unknown) can open them: `jobs` have
        theirs. Before others are launched and after.
        """

    @property
    @abstractmethod
    def open_gpus(self) -> str | None:
        """Why others can, though they are not to."""

    @abstractmethod
    def close(self) -> None:
        """Releases what is held here; what was started goes on."""

    def reap(self) -> int:
        """Reaps the processes started here that have ended; returns how many have not."""
        return self._parent.reap()

    def _is_prepared(self, job: Job, run: Run) -> bool:
        try:
            return self._prepare(job, run)
        except OSError as error:
            why = f"{error.strerror}: {error.filename or self._state.attempt(job.id, run.attempt)}"
            if will_pass(error):
                self._defer([(job, run)], why)
            else:
                self._bar(job, run, why)
        except TryAgain as error:
            self._defer([(job, run)], str(error))
        except GflowError as error:  # a file that is not private
            self._bar(job, run, str(error))
        return False

    def _defer(self, jobs: list[tuple[Job, Run]], why: str) -> None:
        self.deferred |= {(job.id, run.attempt): why for job, run in jobs}

    def _bar_all(self, jobs: list[tuple[Job, Run]], why: str) -> None:
        """Bars those of these that have not begun; the others are on their way."""
        for job, run in jobs:
            self._bar(job, run, why)

    def _bar(self, job: Job, run: Run, why: str) -> None:
        try:
            if self._bar_one(job, run, why.replace("\n", " ")):
                self._log.error("cannot launch", job=job.id, why=why)
        except OSError as error:
            self._log.error("cannot bar", job=job.id, why=str(error))


def will_pass(error: BaseException | None) -> bool:
    """Whether the same may succeed later."""
    return isinstance(error, OSError) and error.errno in (*BAD_DISK, *NO_ROOM)
