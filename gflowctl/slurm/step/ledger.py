"""Who of a job's steps has what: files in the job's own directory, whose names say it all. Waits for its turn.

A step lives as long as one of its processes does, so that one that was killed holds nothing.
"""

from __future__ import annotations

import fcntl
import os
import select

from gflowd import paths
from gflowd.core.errors import SystemFailed
from gflowd.core.slurm.step import steps
from gflowd.effects import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gflowd.core.slurm.step.steps import Entry, Need, Pool

LOCK = "lock"  # holds the number of the next step, and of the next turn to wait
MOST_WATCHED = 200  # descriptors
LOOK_AGAIN = 2000  # milliseconds, where not everyone can be watched


def identity(pid: int) -> tuple[int, int]:
    """A living process: its pid and start."""
    return pid, proc.start_ticks(pid)


class Ledger:
    """The steps of one job. Mutable: what this srun has written there."""

    def __init__(self, attempt: str, pool: Pool, parent: str) -> None:
        self._directory = os.path.join(attempt, "steps")
        self._pool = pool
        self._parent = parent
        self._mine: str | None = None
        self._turn: int | None = None
        self._met: set[str] = set()  # the entries for which we did not get our turn
        try:
            paths.private_directory(self._directory)
            self._lock = os.open(os.path.join(self._directory, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SystemFailed(f"{self._directory}: {error.strerror}") from None

    def take(self, need: Need, companion: Callable[[], int]) -> tuple[int, tuple[int, ...]] | None:
        """The number of the step and the places of its GPUs, if it may start now; else None, and it waits. `companion`
        starts the process that the step's resources are kept for, should we be killed, and returns its pid.
        """
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            entries = [each for each in self._living() if each.parent == self._parent]
            found = steps.chosen(need, self._pool, entries, self._turn)
            number, turn = self._numbers()
            ours = identity(os.getpid())
            if found is not None:
                processes = [ours, identity(companion())]
                gpus = () if need.overlap else found
                self._write(steps.Entry(steps.RUN, number, self._parent, need.cpus, 0, gpus, processes))
                self._count(number + 1, turn)
                return number, found
            self._met = {each.name for each in entries}
            if self._turn is None:
                self._turn = turn
                self._write(steps.Entry(steps.WAIT, turn, self._parent, need.cpus, need.gpus, (), [ours]))
                self._count(number, turn + 1)
        except OSError as error:
            raise SystemFailed(f"{error.filename or self._directory}: {error.strerror}") from None
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
        return None

    def wait(self, wake: int, milliseconds: int | None = None) -> None:
        """Until another step may have ended, a byte comes at `wake`, or the time is over."""
        watched: list[int] = []
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        try:
            living = self._living()
            if not self._met <= {each.name for each in living}:
                return  # one has ended since
            for entry in living:
                if entry.parent != self._parent or (entry.kind == steps.WAIT and entry.number >= (self._turn or 0)):
                    continue
                if len(watched) >= MOST_WATCHED:
                    milliseconds = min(LOOK_AGAIN, milliseconds or LOOK_AGAIN)
                    break
                alive = False
                for pid, start in entry.processes:
                    try:
                        fd = os.pidfd_open(pid)
                    except ProcessLookupError:
                        continue
                    watched.append(fd)
                    if proc.start_ticks(pid) == start:
                        poll.register(fd, select.POLLIN)
                        alive = True
                if not alive:
                    return  # it has ended since
            if watched or milliseconds is not None:
                poll.poll(milliseconds)
        finally:
            for fd in watched:
                os.close(fd)

    def leave(self) -> None:
        """We have nothing any more, and wait for nothing."""
        if self._mine is not None:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._remove(self._mine)
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            self._mine = None

    def _living(self) -> list[Entry]:
        """The entries of the steps that live; removes the others."""
        found = []
        for name in os.listdir(self._directory):
            entry = steps.read(name)
            if entry is None:
                continue
            if any(start and proc.start_ticks(pid) == start for pid, start in entry.processes):
                found.append(entry)
            else:
                self._remove(name)
        return found

    def _write(self, entry: Entry) -> None:
        fd = os.open(os.path.join(self._directory, entry.name), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.close(fd)
        if self._mine is not None:
            self._remove(self._mine)
        self._mine = entry.name

    def _remove(self, name: str) -> None:
        try:
            os.unlink(os.path.join(self._directory, name))
        except FileNotFoundError:
            pass

    def _numbers(self) -> tuple[int, int]:
        words = os.pread(self._lock, 64, 0).split()
        return (int(words[0]), int(words[1])) if len(words) == 2 else (0, 0)

    def _count(self, number: int, turn: int) -> None:
        os.pwrite(self._lock, b"%-20d %-20d\n" % (number, turn), 0)
