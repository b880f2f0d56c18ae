"""Ended jobs that have left the snapshot: `history.db`, an SQLite database that only the scheduler writes.

Each spec is a row, each of its jobs a short row. Jobs count only once the row of their spec exists, so an array can be
written in parts. Writing a row twice replaces it, which does no harm. Values are the snapshot's records.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from gflowd import paths
from gflowd.core.accounting.ended_totals import Tally, gpus_had
from gflowd.core.job.records import LONGEST_ID
from gflowd.storage import database, history_totals
from gflowd.storage.database import DAMAGED_SCHEMA, DatabaseFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


FORMAT = 2  # 1 had no totals
PATIENCE = 5.0  # seconds to wait for a lock; in WAL mode a reader and the writer do not wait for each other
WRITER_PATIENCE = 0.5  # seconds; the scheduler has other things to do
BECAUSE = "DependencyFailed:"
JOBS = "spec JOIN job ON job.spec = spec.id AND job.id BETWEEN spec.id AND spec.id + spec.size - 1"
ATTEMPTS = "spec JOIN attempt ON attempt.job BETWEEN spec.id AND spec.id + spec.size - 1"
SCHEMA = f"""
BEGIN;
CREATE TABLE spec (
    id INTEGER PRIMARY KEY,        -- of its first job
    size INTEGER NOT NULL,         -- jobs, with consecutive ids
    user TEXT NOT NULL,
    project TEXT,
    name TEXT,                     -- NULL where a template makes it
    submitted_at REAL NOT NULL,
    last_at REAL NOT NULL,         -- when the last of its jobs ended
    record TEXT NOT NULL,
    "limit" TEXT
);
CREATE INDEX spec_last_at ON spec (last_at);
CREATE TABLE job (
    id INTEGER PRIMARY KEY,
    spec INTEGER NOT NULL,
    state TEXT NOT NULL,
    started_at REAL,
    ended_at REAL NOT NULL,
    gpus TEXT,                     -- indices, with commas between
    because INTEGER,               -- the job or array whose failure cancelled it
    phase TEXT NOT NULL,
    wish TEXT
);
CREATE INDEX job_because ON job (because) WHERE because IS NOT NULL;
CREATE TABLE attempt (             -- all but the last of each job
    job INTEGER NOT NULL,
    number INTEGER NOT NULL,
    started_at REAL,
    ended_at REAL NOT NULL,
    gpus TEXT,
    phase TEXT NOT NULL,
    PRIMARY KEY (job, number)
) WITHOUT ROWID;
{history_totals.SCHEMA}
PRAGMA user_version = {FORMAT};
COMMIT;
"""


class HistoryFailed(DatabaseFailed):
    """Reports what became of the history."""


_guarded = functools.partial(database.guarded, HistoryFailed)


class Entry(NamedTuple):
    """One job: its last phase, which is an end, its wish, and the earlier attempts by number."""

    id: int
    phase: Mapping[str, Any]
    wish: Mapping[str, Any] | None
    attempts: Sequence[tuple[int, Mapping[str, Any]]]


class Sheet(NamedTuple):
    """What all jobs of a spec have in common."""

    id: int
    size: int
    last_at: float
    record: Mapping[str, Any]
    limit: Mapping[str, Any] | None


class History:
    """An open history. Every method raises `HistoryFailed`."""

    def __init__(self, path: str, *, write: bool = False) -> None:
        """Opens the file; with `write`, creates it if missing. Raises FileNotFoundError, `Refused` for a file
        that is not private.
        """
        self.path = path
        database.find(HistoryFailed, path, write=write)
        self._file = paths.identity(path)  # before it is opened: one that is replaced meanwhile is not in place
        patience = WRITER_PATIENCE if write else PATIENCE
        self._db = database.connect(HistoryFailed, path, write=write, patience=patience)
        try:
            with _guarded(path, DAMAGED_SCHEMA):
                self.is_empty = not self._prepare(write=write)
        except HistoryFailed:
            self.close()
            raise

    def _prepare(self, *, write: bool) -> int:
        """The format of the file; 0 if it is still empty."""
        if write:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
        found = int(self._one("PRAGMA user_version")[0])
        if found > FORMAT:
            raise HistoryFailed(f"{self.path} was written by a newer gflow (format {found}, ours is {FORMAT})")
        if write and not found:
            self._db.executescript(SCHEMA)
            found = FORMAT
        elif write and not history_totals.is_there(self._db):
            history_totals.create(self._db)
        if write and found < FORMAT:
            self._db.execute(f"PRAGMA user_version = {FORMAT}")
        if found:
            self._one("SELECT (SELECT max(id) FROM spec), (SELECT max(id) FROM job), (SELECT max(job) FROM attempt)")
        return found

    def close(self) -> None:
        with _guarded(self.path):
            self._db.close()

    def is_in_place(self) -> bool:
        """Whether the path still names the file that is open."""
        return paths.identity(self.path) == self._file

    def _one(self, query: str, *values: object) -> Any:
        return self._db.execute(query, values).fetchone()

    # what the scheduler writes

    def write(self, entries: Iterable[tuple[int, Entry]], sheets: Iterable[Sheet]) -> None:
        """Writes jobs, each with the id of its spec, and the specs whose jobs are now complete, and counts these; all
        durably or none.
        """
        entries, sheets = list(entries), list(sheets)
        with _guarded(self.path), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            history_totals.forget_counted(self._db, dict.fromkeys(spec_id for spec_id, _ in entries))
            self._db.executemany(f"INSERT OR REPLACE INTO job VALUES ({marks(9)})", map(_job_row, entries))
            rows = (_attempt_row(entry.id, *past) for _, entry in entries for past in entry.attempts)
            self._db.executemany(f"INSERT OR REPLACE INTO attempt VALUES ({marks(6)})", rows)
            self._db.executemany(f"INSERT OR REPLACE INTO spec VALUES ({marks(9)})", map(_spec_row, sheets))
            ended = ((at, (job.wish, job.phase, [past for _, past in job.attempts])) for at, job in entries)
            history_totals.count(self._db, ended, [(sheet.id, sheet.size, sheet.record) for sheet in sheets])

    def count_some(self) -> bool:
        """Counts a part of what has not been counted yet; returns whether there is more."""
        with _guarded(self.path), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            return history_totals.count_some(self._db)

    def forget(self, before: float, most: int) -> bool:
        """Drops specs whose last job ended `before`, with about `most` jobs; returns whether there may be more. The
        greatest id stays, since no id is used twice, and so does what has not been counted yet.
        """
        with _guarded(self.path), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            query = (
                "SELECT id, size FROM spec WHERE last_at < ? AND id < (SELECT max(id) FROM spec)"
                " AND id NOT IN (SELECT spec FROM uncounted) LIMIT ?"
            )
            dropped = 0
            for spec_id, size in self._db.execute(query, (before, most)).fetchall():
                self._db.execute("DELETE FROM spec WHERE id = ?", (spec_id,))
                for table, key in (("job", "id"), ("attempt", "job")):
                    self._db.execute(f"DELETE FROM {table} WHERE {key} BETWEEN ? AND ?", (spec_id, spec_id + size - 1))
                dropped += size
                if dropped >= most:
                    break
        return dropped >= most

    # what everyone reads

    def rows(self, query: str, *values: object) -> Iterator[Any]:
        """The rows of a SELECT; none if the file is still empty."""
        with _guarded(self.path):
            yield from () if self.is_empty else self._db.execute(query, values)

    def greatest_id(self) -> int:
        """The greatest id of a job, 0 if there is none."""
        return max((found or 0 for (found,) in self.rows("SELECT max(id) FROM job")), default=0)

    def tally(self, spec_ids: Iterable[int]) -> tuple[Tally, set[int]]:
        """The totals of all that is and was in it, and which of `spec_ids` are in these."""
        if self.is_empty:
            return Tally(), set()
        with _guarded(self.path, DAMAGED_SCHEMA), self._db:
            self._db.execute("BEGIN")
            found = history_totals.read(self._db)
            query = "SELECT 1 FROM spec WHERE id = ?"
            return found, {each for each in spec_ids if self._db.execute(query, (each,)).fetchone()}

    def outcome(self, job_id: int, *, whole: bool) -> tuple[int, int, float] | None:
        """Of a job, or of the `whole` array: how many, how many of them finished, when the last began."""
        which = "spec.id" if whole else "job.id"
        query = f"SELECT count(*), sum(state = 'finished'), max(coalesce(started_at, ended_at)) FROM {JOBS}"
        for count, finished, begun_at in self.rows(f"{query} WHERE {which} = ?", job_id):
            if count:
                return count, finished, begun_at
        return None

    def spec(self, spec_id: int) -> Any:
        """The record of a spec, None if it is not there."""
        return next((json.loads(text) for (text,) in self.rows("SELECT record FROM spec WHERE id = ?", spec_id)), None)


def set_aside(path: str) -> str:
    """Renames a damaged history and its companion files; returns its new name. Raises OSError."""
    kept = f"{path}.corrupt-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    while os.path.lexists(kept):
        kept += "+"
    os.rename(path, kept)
    for ending in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.rename(path + ending, kept + ending)
    return kept


def _spec_row(sheet: Sheet) -> tuple[object, ...]:
    record = sheet.record
    name = None if "name_template" in record else record["name"]
    return (
        sheet.id, sheet.size, record["user"], record.get("project"), name, record["submitted_at"], sheet.last_at,
        _text(record), None if sheet.limit is None else _text(sheet.limit),
    )  # fmt: skip


def _job_row(written: tuple[int, Entry]) -> tuple[object, ...]:
    spec_id, entry = written
    phase = entry.phase
    reason = phase.get("reason") or ""
    because = reason.removeprefix(BECAUSE) if reason.startswith(BECAUSE) else ""
    culprit = int(because) if because.isascii() and because.isdigit() and len(because) <= LONGEST_ID else None
    wish = None if entry.wish is None else _text(entry.wish)
    return (entry.id, spec_id, phase["state"], *_times(entry.id, phase), culprit, _text(phase), wish)


def _attempt_row(job_id: int, number: int, phase: Mapping[str, Any]) -> tuple[object, ...]:
    return (job_id, number, *_times(job_id, phase), _text(phase))


def _times(job_id: int, phase: Mapping[str, Any]) -> tuple[float | None, float, str | None]:
    run = phase.get("run") or {}
    gpus = gpus_had(job_id, run.get("gpu_ids", ()), run.get("remote_gpus", 0))
    return phase.get("started_at"), phase["ended_at"], ",".join(map(str, gpus)) if gpus else None


def _text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def marks(count: int) -> str:
    """Places for `count` values in a query."""
    return ",".join("?" * count)
