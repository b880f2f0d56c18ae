"""The scheduler's snapshot: followed into the job queue and the calendar, changed under the lock, kept in
order.

Knows nothing of decisions. All of it can be lost: it is read again.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from gflowd import log
from gflowd.core.accounting.runtimes import Runtimes
from gflowd.core.errors import SystemFailed, TryAgain
from gflowd.core.events.job_events import JobFacts, Untold
from gflowd.core.job.field_rules import LARGEST_WHOLE
from gflowd.core.job.records import ATTEMPT, LIMIT, PHASE, QUOTA, RESERVATION, RUNS, SCHEDULER, SETTING, SPEC, WISH
from gflowd.core.metrics.duration_meter import Meters
from gflowd.core.planning.reservation_calendar import ReservationCalendar
from gflowd.core.queue.job_queue import JobQueue
from gflowd.core.queue.job_records import JobRecords
from gflowd.core.syntax import instants
from gflowd.effects.kernel import machine
from gflowd.storage.store import WORTH_COMPACTING, Commit, Follower, Store
from gflowd.workers.scheduler.upkeep.archiver import Archiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gflowd.config.loader import Config
    from gflowd.core.job.model import Spec
    from gflowd.core.moment import Moment
    from gflowd.paths import State


SHARED = ("cwd", "env", "limits", "name", "user")  # fields that many submissions have in common
TOLD = 100  # records that make no sense, each on a line of the log; of more their number
MOST_DECODED = 1000  # specs of which something was told lately
RULES = (LIMIT, QUOTA, RESERVATION, SETTING)  # kinds of records on which every start depends


@dataclass(frozen=True, slots=True)
class Touched:
    """What others wrote since our last read: about which `jobs`, and whether it changed the `rules` for starts."""

    jobs: set[int]
    rules: bool


class Fenced(Exception):
    """Raised when another scheduler has taken over, and may be at work."""


def _following(before: dict[str, Any] | None) -> int:
    """The generation of a scheduler after that of a record."""
    generation: int = 1 + (0 if before is None else before["generation"])
    return generation if generation <= LARGEST_WHOLE else 1


def _share_words(specs: Iterable[dict[str, Any]]) -> None:
    """Shares equal strings of submissions: saves a quarter of a kilobyte for each of many similar ones."""
    for spec in specs:
        for name in SHARED:
            if type(word := spec.get(name)) is str:
                spec[name] = sys.intern(word)


class SchedulerState:
    """`job_queue` and `calendar` are as of the last `catch_up`; `news` counts how often others had written; `untold` is
    what changed since somebody last cleared it; `meters` tell how long commits took.

    Creating it repairs a damaged snapshot and locks out any earlier scheduler. `is_alone` says whether this one still
    holds the lock that only one scheduler can have; `at_first` is called before the first scheduler of all takes over.
    """

    def __init__(
        self,
        state: State,
        config: Config,
        is_alone: Callable[[], bool] = lambda: False,
        at_first: Callable[[], None] = lambda: None,
    ) -> None:
        self._log = log.get("scheduler")
        self.meters = Meters()
        self._store = Store(state, config.lock_timeout, orjson.dumps)
        self._store.timed = self.meters.sync.note
        self._follower = Follower(self._store)
        self._archiver = Archiver(state, config)
        self._default_time_limit = config.default_time_limit
        self._machine = config.cpus or machine.cpus(), config.memory_mb or machine.memory_mb()
        self.job_queue = self._new_queue()
        self.calendar = ReservationCalendar(instants.zone(config.timezone))
        self._touched: set[int] = set()
        self.news = 0
        self.untold = Untold()
        self._decoded: dict[int, tuple[Any, Spec]] = {}
        self._is_alone = is_alone
        self._told_aside: set[tuple[tuple[str, int | str], str]] = set()
        self._generation = self._take_over(at_first)

    def of(self, kind: str) -> dict[Any, Any]:
        """The records of a kind, by id."""
        return self._follower.fold.of(kind)

    @property
    def next_id(self) -> int:
        """The next job's."""
        return self._follower.fold.next_id

    @property
    def generation(self) -> int:
        """How many schedulers there were, this one included."""
        return self._generation

    def job_facts(self) -> JobFacts:
        """The records of jobs."""
        if len(self._decoded) > MOST_DECODED:
            self._decoded.clear()
        return JobFacts(
            specs=self.of(SPEC),
            wishes=self.of(WISH),
            phases=self.of(PHASE),
            attempts=self.of(ATTEMPT),
            limits=self.of(LIMIT),
            spec_of=self.job_queue.spec_of,
            decoded=self._decoded,
        )

    def catch_up(self) -> Touched:
        """Follows the snapshot into the job queue."""
        keys = self._follower.catch_up()
        self.news += bool(keys is None or keys or self._follower.fold.dropped)
        fold = self._follower.fold
        specs, phases = fold.of(SPEC), fold.of(PHASE)
        _share_words(specs.values() if keys is None else (specs.get(key, {}) for kind, key in keys if kind == SPEC))
        if keys is None:
            self.job_queue = self._new_queue()
            for key, record in fold.of(RUNS).items():
                self.job_queue.note_runs(key, record)
            ids = self.job_queue.refresh(specs, ())
        else:
            spec_ids = [key for kind, key in keys if kind == SPEC and isinstance(key, int)]
            job_ids = [key for kind, key in keys if kind in (WISH, PHASE) and isinstance(key, int)]
            ids = self.job_queue.refresh(spec_ids, job_ids)
            for kind, key in keys:
                if kind == RUNS:
                    self.job_queue.note_runs(str(key), fold.of(kind).get(key))
        if keys is None or any(kind == RESERVATION for kind, _ in keys):
            self.calendar.take(fold.of(RESERVATION))
        self._archiver.note(phases if keys is None else ids, fold, self.job_queue)
        self._touched |= ids
        self.untold.note(keys)
        return Touched(ids, rules=keys is None or any(kind in RULES for kind, _ in keys))

    def take_touched(self) -> set[int]:
        """The jobs that were touched since this was last asked, by whomever, for whoever settles what that means."""
        touched, self._touched = self._touched, set()
        return touched

    def put_back(self) -> None:
        """The snapshot was removed or overwritten while we run: ours is the only copy. Raises as a commit."""
        with self._commit():
            self.catch_up()

    @contextmanager
    def change(self) -> Iterator[tuple[Commit, Touched]]:
        """A commit, and what others touched before it; what is put into it is in the job queue afterwards."""
        began = time.monotonic()
        with self._commit() as commit:
            touched = self.catch_up()
            if (found := self.of(SCHEDULER).get(0)) != self._record():
                self._take_place_again(commit, found)
            yield commit, touched
        self.meters.commit.note(time.monotonic() - began)
        news = self.news
        self.catch_up()
        self.news = news  # our own

    def look_after(self) -> None:
        """Sets a damaged snapshot aside, and rewrites one that is mostly superseded lines."""
        fold = self._follower.fold
        bloated = self._follower.offset > WORTH_COMPACTING and fold.lines > 2 * fold.live()
        if not fold.dropped and not bloated:
            return
        with self._commit() as commit:
            self.catch_up()
            self._rewrite(commit)

    def archive(self, now: Moment) -> float | None:
        """Moves ended jobs to the history; when to do so again, on the monotonic clock."""
        try:
            if self._archiver.copy(self._follower.fold, self.job_queue, now):
                with self.change() as (commit, _):
                    for kind, key in self._archiver.leaving(self._follower.fold, self.job_queue):
                        commit.put(kind, key, None)
        except (SystemFailed, TryAgain) as error:
            self._archiver.put_off(now, error)
        return self._archiver.wake_at(now)

    def tell(self) -> None:
        """Logs the store's notes, and once each record that makes no sense."""
        while self._store.notes:
            self._log.error("snapshot", note=self._store.notes.pop())
        now = {(key, why) for key, (_, why) in self._follower.fold.aside.items()}
        new = sorted(now - self._told_aside, key=str)
        for (kind, record_id), why in new[:TOLD]:
            self._log.warning("set aside a record that makes no sense", kind=kind, id=record_id, why=why)
        if len(new) > TOLD:
            self._log.warning("set aside more records that make no sense", records=len(new) - TOLD)
        self._told_aside = now

    def close(self) -> None:
        """Closes the history."""
        self._archiver.history.close()

    def _new_queue(self) -> JobQueue:
        records = JobRecords(*map(self.of, (SPEC, WISH, PHASE, LIMIT)))
        return JobQueue(records, self._archiver.history, Runtimes(self._default_time_limit), self._machine)

    def _commit(self) -> Commit:
        """If the file was lost or damaged, our memory is the better copy."""
        return self._store.commit(self._follower.fold, self._follower.offset)

    def _take_over(self, at_first: Callable[[], None]) -> int:
        with self._store.commit() as commit:
            self.catch_up()
            if self.of(SCHEDULER).get(0) is None:
                at_first()
            if self._follower.fold.dropped:
                self._rewrite(commit)
            self._generation = _following(self.of(SCHEDULER).get(0))
            commit.put(SCHEDULER, 0, self._record())
        return self._generation

    def _record(self) -> dict[str, int]:
        return {"generation": self._generation, "pid": os.getpid()}

    def _take_place_again(self, commit: Commit, found: dict[str, Any] | None) -> None:
        """Corrects a record that names another scheduler, or none: there can be no other while we hold the lock."""
        if not self._is_alone():
            raise Fenced
        self._log.error("the snapshot named another scheduler; this one takes its place again", found=str(found))
        self._generation = _following(found)
        commit.put(SCHEDULER, 0, self._record())

    def _rewrite(self, commit: Commit) -> None:
        fold = self._follower.fold
        if fold.dropped:
            self._log.error("snapshot was damaged", dropped="; ".join(fold.dropped)[:500])
            self._follower.rebase(commit.repair(fold))
        else:
            self._follower.rebase(commit.rewrite(fold))
