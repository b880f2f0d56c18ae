"""Jobs that run in virtual time: what the launcher starts, their processes, and what they leave in their directories.

`Jobs` is the truth about every attempt. How the daemon sees it is in `virtual_effects`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from random import Random

from virtual_clock import BOOT, Clock

from gflowd.core.execution.procstat import Process
from gflowd.effects.attempt.jobdir import Beginning, Record
from gflowd.effects.kernel.processes import TICKS

Key = tuple[int, int]  # a job's id and the number of the attempt
FIRST_PID = 100
EVERYTHING = frozenset((signal.SIGINT, signal.SIGTERM))


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of an attempt; times in seconds. `heeds`: which signals end its command, beside KILL."""

    takes: float
    status: int = 0
    begins_after: float = 0.01
    heeds: frozenset[int] = EVERYTHING
    dies_after: float = 0.02  # a signal
    strays: float = 0.0  # how long a child outlives the command; 0: there is none
    strays_hold: bool = True  # the child has kept `alive` open
    lingers: float = 0.0  # `alive` is held so long after the exit record
    vanishes: bool = False  # all of it is gone at the end, without a record
    never_begins: bool = False


@dataclass(slots=True)
class Attempt:
    """One launched attempt, as it really is."""

    key: Key
    gpus: tuple[int, ...]
    fate: Fate
    launched: float
    begun: Beginning | None = None
    record: Record | None = None
    held: bool = False
    leader: Process | None = None
    command: Process | None = None
    child: Process | None = None
    marks: set[str] = field(default_factory=set)  # the steps of the stop ladder that were taken

    @property
    def processes(self) -> Iterator[Process]:
        """All that lives of it."""
        return (each for each in (self.leader, self.command, self.child) if each is not None)

    @property
    def on_gpus(self) -> Process | None:
        """What computes on its GPUs."""
        return self.command or self.child


class Jobs:
    """Every attempt by key and every process by pid. `fate` says what becomes of each.

    `rings` is called at ends, `dies` with each pid that is gone.
    """

    def __init__(self, clock: Clock, dice: Random, fate: Callable[[Key], Fate]) -> None:
        self.clock = clock
        self.attempts: dict[Key, Attempt] = {}
        self.barred: dict[Key, Beginning] = {}
        self.owners: dict[int, Attempt] = {}  # by pid
        self.rings: Callable[[], None] = lambda: None
        self.dies: Callable[[int], None] = lambda pid: None
        self._dice = dice
        self._fate = fate
        self._pid = FIRST_PID

    def launch(self, key: Key, gpus: tuple[int, ...]) -> None:
        """Starts `job.sh` of an attempt; a second copy ends at once."""
        if key in self.attempts:
            return
        fate = self._fate(key)
        made = self.attempts[key] = Attempt(key, gpus, fate, self.clock.now)
        if not fate.never_begins:
            self.clock.after(fate.begins_after, lambda: self._begin(made))

    def beginning(self, key: Key) -> Beginning | None:
        """What its `pid` says."""
        if key in self.barred:
            return self.barred[key]
        found = self.attempts.get(key)
        return None if found is None else found.begun

    def bar(self, key: Key, why: str) -> bool:
        """Keeps an attempt from beginning; False when it has begun, or is barred."""
        if self.beginning(key) is not None:
            return False
        self.barred[key] = Beginning(self.clock.wall, None, why or None)
        return True

    def send(self, process: Process, numbers: Iterable[int]) -> bool:
        """Signals to one process; False when it is gone."""
        owner = self.owners.get(process.pid)
        if owner is None:
            return False
        for number in numbers:
            self._signal(owner, process, number)
        return True

    def living(self) -> Iterator[Attempt]:
        """The attempts of which something lives."""
        return iter({id(each): each for each in self.owners.values()}.values())

    def _begin(self, attempt: Attempt) -> None:
        if attempt.key in self.barred:
            return
        leader = self._fork(attempt, parent=1, session=None)
        attempt.leader, attempt.held = leader, True
        attempt.begun = Beginning(self.clock.wall, leader.identity(BOOT))
        attempt.command = self._fork(attempt, leader.pid, leader.pid)
        if attempt.fate.strays:
            attempt.child = self._fork(attempt, 1, attempt.command.pid)
        self.clock.after(attempt.fate.takes, lambda: self._end(attempt, attempt.fate.status))

    def _fork(self, attempt: Attempt, parent: int, session: int | None) -> Process:
        self._pid += 1
        made = Process(self._pid, parent, session or self._pid, int(self.clock.mono * TICKS), zombie=False)
        self.owners[made.pid] = attempt
        return made

    def _signal(self, attempt: Attempt, process: Process, number: int) -> None:
        fate = attempt.fate
        if number == signal.SIGKILL:
            self.clock.after(fate.dies_after, lambda: self._kill(attempt, process))
        elif process is attempt.command and number in fate.heeds:
            self.clock.after(fate.dies_after, lambda: self._end(attempt, 128 + number))
        elif process is attempt.child and number in fate.heeds:
            self.clock.after(fate.dies_after, lambda: self._child_ends(attempt))

    def _kill(self, attempt: Attempt, process: Process) -> None:
        if process is attempt.command:
            self._end(attempt, 128 + signal.SIGKILL)
        elif process is attempt.child:
            self._child_ends(attempt)
        elif process is attempt.leader:
            self._leader_ends(attempt)
            attempt.held = attempt.command is not None or (attempt.child is not None and attempt.fate.strays_hold)

    def _end(self, attempt: Attempt, status: int) -> None:
        """The command has ended; `job.sh`, if it lives, records it."""
        command, attempt.command = attempt.command, None
        if command is None:
            return
        self._gone(command)
        fate = attempt.fate
        if fate.vanishes:
            self._child_ends(attempt)
            self._leader_ends(attempt)
            attempt.held = False
            return
        if attempt.leader is not None:
            attempt.record = Record(self.clock.wall, status, None)
        if attempt.child is not None:
            self.clock.after(fate.strays, lambda: self._child_ends(attempt))
        if fate.lingers:
            self.clock.after(fate.lingers, lambda: self._let_go(attempt))
        else:
            self._let_go(attempt)

    def _let_go(self, attempt: Attempt) -> None:
        """`job.sh` closes `alive`, rings and ends."""
        attempt.held = attempt.child is not None and attempt.fate.strays_hold
        if attempt.leader is not None:
            self.rings()
        self._leader_ends(attempt)

    def _leader_ends(self, attempt: Attempt) -> None:
        leader, attempt.leader = attempt.leader, None
        if leader is not None:
            self._gone(leader)

    def _child_ends(self, attempt: Attempt) -> None:
        child, attempt.child = attempt.child, None
        if child is not None:
            self._gone(child)
            attempt.held = attempt.leader is not None and attempt.record is None

    def _gone(self, process: Process) -> None:
        del self.owners[process.pid]
        self.dies(process.pid)
