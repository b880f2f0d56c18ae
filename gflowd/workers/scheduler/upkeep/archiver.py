"""Moves ended jobs from the snapshot to the history, and drops old jobs from the history.

Copies them first, durably, then drops them from the snapshot under its lock, unless they changed meanwhile. Being
killed in between and copying again does no harm. A big array moves in parts; it has left when its spec has, and what
remains of its jobs in the snapshot is then removed, even after a crash.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, Any

from gflowd.core.errors import GflowError
from gflowd.core.job.records import ATTEMPT, LIMIT, PHASE, SPEC, WISH, attempt_of, has_ended
from gflowd.workers.scheduler.upkeep import removals
from gflowd.workers.scheduler.upkeep.cleanup import Cleanup, pace
from gflowd.workers.scheduler.upkeep.history_writer import HistoryWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gflowd.config.loader import Config
    from gflowd.core.moment import Moment
    from gflowd.core.queue.job_queue import JobQueue
    from gflowd.paths import State
    from gflowd.storage.history import Entry, Sheet
    from gflowd.storage.record_log import Fold

BATCH = 1000  # jobs at a time, so that a tick stays short
LOOKS = 10 * BATCH  # specs that are checked for that
LOOK_AGAIN = 60.0  # seconds until the next check of jobs that others wait for, and after a failure

Records = tuple[Any, Any]  # of a job: wish and phase


class Archiver:
    """Its memory can be lost: `note` of the whole snapshot rebuilds it. `history`: the jobs that have left."""

    def __init__(self, state: State, config: Config) -> None:
        self.history = HistoryWriter(state.history)
        self._after = config.history_after
        self._keep = config.history_keep
        places = tuple(each.directory for each in config.clusters.values())
        self._cleanup = Cleanup(state, config.log_keep, removals.groups(state, config), places)
        self._due: list[tuple[float, int]] = []  # a heap: when a spec may leave, at the earliest
        self._noted: set[int] = set()  # the specs in it
        self._moving: tuple[int, float, range] | None = None  # spec, when it ended, the jobs still to be copied
        self._copied: dict[int, Records] = {}  # by job, as they were then
        self._ready: dict[int, range] = {}  # specs that are in the history, and their jobs
        self._left: deque[int] = deque()  # jobs whose spec has left
        self._is_counting = False
        self._retry_at = float("-inf")
        self._forget_at = float("-inf")

    def note(self, ids: Iterable[int], fold: Fold, job_queue: JobQueue) -> None:
        """These jobs have changed."""
        specs, phases = fold.of(SPEC), fold.of(PHASE)
        for job_id in ids:
            raw = phases.get(job_id)
            if raw is not None and has_ended(raw):
                spec_id = job_queue.spec_of(job_id)
                if spec_id in specs:
                    self._line_up(spec_id, raw["ended_at"] + self._after)
                else:
                    self._left.append(job_id)

    def copy(self, fold: Fold, job_queue: JobQueue, now: Moment) -> bool:
        """Copies a batch of due jobs to the history; returns whether `leaving` has something to drop."""
        if now.mono < self._retry_at:
            return False
        specs, phases = fold.of(SPEC), fold.of(PHASE)
        for spec_id in self._ready.keys() - specs.keys():
            self._left.extend(self._ready.pop(spec_id))
        while self._left and (self._left[0] not in phases or job_queue.spec_of(self._left[0]) in specs):
            self._left.popleft()
        try:
            if not self._ready and not self._left:
                self._copy(fold, job_queue, now)
            self._is_counting = self.history.count_some()
            self._forget(now)
            self._cleanup.sweep(fold, job_queue, now)
        except (GflowError, OSError) as error:
            self.put_off(now, error)
            return False
        return bool(self._ready or self._left)

    def leaving(self, fold: Fold, job_queue: JobQueue) -> list[tuple[str, int | str]]:
        """The records to drop now, by kind and id. Call it under the lock, with the current records."""
        specs, limits, phases = fold.of(SPEC), fold.of(LIMIT), fold.of(PHASE)
        keys: list[tuple[str, int | str]] = []
        jobs: list[int] = []
        for spec_id, ids in list(self._ready.items()):
            if any(_records(fold, job_id) != self._copied.get(job_id) for job_id in ids):
                del self._ready[spec_id]
                self._line_up(spec_id, float("-inf"))
                continue
            keys += [(kind, spec_id) for kind, of in ((SPEC, specs), (LIMIT, limits)) if spec_id in of]
            if len(ids) <= BATCH:
                jobs += ids
        left = islice(self._left, BATCH)  # a job that left together with a big array is gone from `phases`
        jobs += [job_id for job_id in left if job_id in phases and job_queue.spec_of(job_id) not in specs]
        return keys + [key for job_id in jobs for key in _keys(fold, job_id)]

    def put_off(self, now: Moment, error: GflowError | OSError) -> None:
        """Something failed; the work is done later."""
        self.history.report(error)
        self._retry_at = now.mono + LOOK_AGAIN

    def wake_at(self, now: Moment) -> float | None:
        """When to call `copy` next, on the monotonic clock."""
        if self._ready or self._left or self._moving is not None or self._is_counting:
            return max(now.mono, self._retry_at)
        wakes = [self._cleanup.wake_at]
        if self._due:
            wakes.append(now.mono + max(0.0, self._due[0][0] - now.wall))
        if self._keep is not None:
            wakes.append(self._forget_at)
        soonest = min(wakes)
        return None if soonest == float("inf") else max(soonest, self._retry_at)

    def _line_up(self, spec_id: int, due: float) -> None:
        if spec_id not in self._noted:
            self._noted.add(spec_id)
            heappush(self._due, (due, spec_id))

    def _copy(self, fold: Fold, job_queue: JobQueue, now: Moment) -> None:
        if self._moving is None:
            self._copied.clear()
        entries: list[tuple[int, Entry]] = []
        sheets: list[Sheet] = []
        while len(entries) < BATCH and (moving := self._moving or self._next(fold, job_queue, now)) is not None:
            spec_id, last_at, ids = moving
            part, rest = ids[: BATCH - len(entries)], ids[BATCH - len(entries) :]
            self._moving = None
            if spec_id not in fold.of(SPEC) or not _have_ended(fold, part):  # requeued meanwhile
                continue
            entries += [(spec_id, _entry(fold, job_id)) for job_id in part]
            if rest:
                self._moving = spec_id, last_at, rest
            else:
                sheets.append(self._sheet(fold, job_queue, spec_id, last_at))
        if not entries:
            return
        try:
            self.history.write(entries, sheets)
        except GflowError:
            self._moving = None
            for spec_id, _ in entries:
                self._line_up(spec_id, now.wall)
            raise
        self._copied |= {entry.id: _records(fold, entry.id) for _, entry in entries}
        self._ready = {sheet.id: job_queue.ids(sheet.id) for sheet in sheets}

    def _next(self, fold: Fold, job_queue: JobQueue, now: Moment) -> tuple[int, float, range] | None:
        """The next spec that may leave: its id, when the last of its jobs ended, their ids."""
        specs, phases = fold.of(SPEC), fold.of(PHASE)
        for _ in range(LOOKS):
            if not self._due or self._due[0][0] > now.wall:
                return None
            _, spec_id = heappop(self._due)
            self._noted.discard(spec_id)
            ids = job_queue.ids(spec_id)
            if spec_id not in specs or not _have_ended(fold, ids):
                continue  # it is noted again with the next end
            last_at: float = max(phases[job_id]["ended_at"] for job_id in ids)
            if last_at + self._after > now.wall:
                self._line_up(spec_id, last_at + self._after)
            elif job_queue.is_needed(spec_id):
                self._line_up(spec_id, now.wall + LOOK_AGAIN)
            else:
                return spec_id, last_at, ids
        return None

    def _sheet(self, fold: Fold, job_queue: JobQueue, spec_id: int, last_at: float) -> Sheet:
        from gflowd.storage.history import Sheet

        record = fold.of(SPEC)[spec_id]
        self._cleanup.touch(record)
        size, limit = len(job_queue.ids(spec_id)), fold.of(LIMIT).get(spec_id)
        return Sheet(spec_id, size, max(last_at, record["submitted_at"]), record, limit)

    def _forget(self, now: Moment) -> None:
        if self._keep is None or now.mono < self._forget_at:
            return
        more = self.history.forget(now.wall - self._keep, BATCH)
        self._forget_at = now.mono + (0.0 if more else pace(self._keep))


def _have_ended(fold: Fold, ids: range) -> bool:
    """Checks the last first, which usually is the one that has not ended."""
    phases = fold.of(PHASE)
    return all(has_ended(phases.get(job_id)) for job_id in reversed(ids))


def _records(fold: Fold, job_id: int) -> Records:
    return fold.of(WISH).get(job_id), fold.of(PHASE).get(job_id)


def _attempts(fold: Fold, job_id: int) -> list[tuple[int, Any]]:
    """The records of its earlier attempts, by number."""
    phase, kept = fold.of(PHASE)[job_id], fold.of(ATTEMPT)
    if not kept:
        return []
    last = attempt_of(phase)
    return [(number, raw) for number in range(1, last + 1) if (raw := kept.get(f"{job_id}.{number}")) is not None]


def _entry(fold: Fold, job_id: int) -> Entry:
    from gflowd.storage.history import Entry

    wish, phase = fold.of(WISH).get(job_id), fold.of(PHASE)[job_id]
    return Entry(job_id, phase, wish, _attempts(fold, job_id))


def _keys(fold: Fold, job_id: int) -> Iterator[tuple[str, int | str]]:
    """The keys of its records, except for its spec."""
    yield PHASE, job_id
    if job_id in fold.of(WISH):
        yield WISH, job_id
    for number, _ in _attempts(fold, job_id):
        yield ATTEMPT, f"{job_id}.{number}"
