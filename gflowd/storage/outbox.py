"""Notifications that are still to be delivered: `outbox.db`, an SQLite database that only the notifier writes.

Which events have been read is in the same transaction as what came of them: a power cut may take the last transactions,
but then the events are read again, with the same result. What was sent and is not yet marked so is sent again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple

from gflowd.storage import database
from gflowd.storage.database import DAMAGED_SCHEMA, DatabaseFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Event = Mapping[str, Any]

FORMAT = 1
PATIENCE = 5.0  # seconds
MOST_WAITING = 10_000  # of one receiver; the oldest are given up
SCHEMA = f"""
BEGIN;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event TEXT NOT NULL,           -- its id
    receiver TEXT NOT NULL,
    body TEXT NOT NULL,            -- the event
    made_at REAL NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    unit INTEGER,                  -- the message with which it is sent in one
    UNIQUE (receiver, event)
);
CREATE TABLE receiver (
    key TEXT PRIMARY KEY,
    failures INTEGER NOT NULL DEFAULT 0,   -- in a row
    due_at REAL NOT NULL DEFAULT 0,
    why TEXT NOT NULL DEFAULT '',
    dropped INTEGER NOT NULL DEFAULT 0     -- since its last message was delivered
) WITHOUT ROWID;
CREATE TABLE target (key TEXT PRIMARY KEY, since REAL NOT NULL) WITHOUT ROWID;  -- of gflow.toml
CREATE TABLE array (
    id INTEGER PRIMARY KEY,
    size INTEGER NOT NULL,         -- how many elements are still to end, or have
    begun INTEGER NOT NULL DEFAULT 0,
    requeued INTEGER NOT NULL DEFAULT 0,
    ended INTEGER NOT NULL DEFAULT 0,
    told INTEGER NOT NULL DEFAULT 0,       -- how often its end was
    at REAL NOT NULL
);
CREATE TABLE element (
    job INTEGER PRIMARY KEY,
    array INTEGER NOT NULL,
    state TEXT,                    -- NULL: queued again
    line TEXT NOT NULL DEFAULT ''
);
CREATE INDEX element_array ON element (array, state);
CREATE TABLE mark (                -- of a time limit
    job INTEGER NOT NULL,
    word TEXT NOT NULL,
    due_at REAL,                   -- NULL while the job is suspended, with `left` seconds
    left REAL,
    event TEXT NOT NULL,
    PRIMARY KEY (job, word)
) WITHOUT ROWID;
PRAGMA user_version = {FORMAT};
COMMIT;
"""


class OutboxFailed(DatabaseFailed):
    """Reports what became of the outbox."""


_guarded = functools.partial(database.guarded, OutboxFailed)


class Unit(NamedTuple):
    """What is sent at once: one event, or many in one message."""

    ids: tuple[int, ...]
    events: tuple[dict[str, Any], ...]
    tries: int
    made_at: float  # of the oldest

    @property
    def event_id(self) -> str:
        """By which a receiver knows that it has it already."""
        first = str(self.events[0]["id"])
        return first if len(self.events) == 1 else f"{first}.to.{self.events[-1]['id']}"


class Waiting(NamedTuple):
    """What waits for a receiver, and how the last delivery went."""

    key: str
    number: int
    oldest: float
    failures: int
    due_at: float
    why: str
    dropped: int


class Outbox:
    """An open outbox. Every method raises `OutboxFailed`."""

    def __init__(self, path: str, *, write: bool = False) -> None:
        """Opens the file; with `write`, creates it if missing. Raises FileNotFoundError, `Refused` for a file that is
        not private.
        """
        self.path = path
        database.find(OutboxFailed, path, write=write)
        self._db = database.connect(OutboxFailed, path, write=write, patience=PATIENCE)
        try:
            with _guarded(path, DAMAGED_SCHEMA):
                self._prepare(write=write)
        except OutboxFailed:
            self.close()
            raise

    def _prepare(self, *, write: bool) -> None:
        if write:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
        found = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if found > FORMAT:
            raise OutboxFailed(f"{self.path} was written by a newer gflow (format {found}, ours is {FORMAT})")
        if write and not found:
            self._db.executescript(SCHEMA)
        self.is_empty = not (found or write)
        if not self.is_empty:
            for look in ("message", "receiver", "mark", "element", "array", "meta", "target"):
                self._db.execute(f"SELECT 1 FROM {look} LIMIT 1").fetchone()  # noqa: S608 -- our own words

    def close(self) -> None:
        """Closes it."""
        with contextlib.suppress(sqlite3.Error):
            self._db.close()

    @contextlib.contextmanager
    def commit(self) -> Iterator[None]:
        """What is done within is done whole or not at all."""
        with _guarded(self.path), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield

    def _all(self, query: str, *values: object) -> list[Any]:
        with _guarded(self.path):
            return [] if self.is_empty else self._db.execute(query, values).fetchall()

    def _do(self, query: str, *values: object) -> int:
        with _guarded(self.path):
            return self._db.execute(query, values).rowcount

    # where the journal has been read to

    @property
    def last(self) -> str | None:
        """The id of the last event that was read."""
        found = self._all("SELECT value FROM meta WHERE key = 'last'")
        return found[0][0] if found else None

    @last.setter
    def last(self, event_id: str) -> None:
        self._do("INSERT OR REPLACE INTO meta VALUES ('last', ?)", event_id)

    def know(self, targets: Iterable[str], since: float) -> dict[str, float]:
        """Since when each of these targets of gflow.toml is known; those that are gone from it are forgotten."""
        keys = list(dict.fromkeys(targets))
        known = dict(self._all("SELECT key, since FROM target"))
        for key in keys:
            if key not in known:
                self._do("INSERT INTO target VALUES (?, ?)", key, since)
        for key in known:
            if key not in keys:
                self._do("DELETE FROM target WHERE key = ?", key)
        return {key: known.get(key, since) for key in keys}

    # messages

    def add(self, receiver: str, event: Event, now: float) -> None:
        """An event is to be told to a receiver; once, however often it is added."""
        body = json.dumps(event, separators=(",", ":"))
        self._do(
            "INSERT OR IGNORE INTO message (event, receiver, body, made_at) VALUES (?, ?, ?, ?)",
            str(event["id"]), receiver, body, now,
        )  # fmt: skip

    def bound(self, most: int = MOST_WAITING) -> list[tuple[str, int]]:
        """Gives up the oldest messages of receivers with more than `most`; returns of whom, and how many."""
        over = self._all("SELECT receiver, count(*) FROM message GROUP BY receiver HAVING count(*) > ?", most)
        for receiver, count in over:
            self._do(
                "DELETE FROM message WHERE id IN (SELECT id FROM message WHERE receiver = ? ORDER BY id LIMIT ?)",
                receiver, count - most,
            )  # fmt: skip
            self._note_dropped(receiver, count - most)
        return [(receiver, count - most) for receiver, count in over]

    def give_up(self, before: float) -> list[tuple[str, int]]:
        """Drops messages made before that time; returns whose, and how many."""
        old = self._all("SELECT receiver, count(*) FROM message WHERE made_at < ? GROUP BY receiver", before)
        if old:
            self._do("DELETE FROM message WHERE made_at < ?", before)
        for receiver, count in old:
            self._note_dropped(receiver, count)
        return [(receiver, count) for receiver, count in old]

    def oldest(self) -> float | None:
        """When the oldest message was made."""
        found: float | None = self._all("SELECT min(made_at) FROM message")[0][0]
        return found

    def waiting(self) -> list[Waiting]:
        """The receivers for whom anything waits, the one that is due first before others."""
        rows = self._all(
            "SELECT m.receiver, count(*), min(m.made_at), coalesce(r.failures, 0), coalesce(r.due_at, 0) AS due,"
            " coalesce(r.why, ''), coalesce(r.dropped, 0)"
            " FROM message AS m LEFT JOIN receiver AS r ON r.key = m.receiver GROUP BY m.receiver ORDER BY due, m.id"
        )
        return [Waiting(*row) for row in rows]

    def merge(self, receiver: str, over: int, most: int) -> None:
        """Makes one unit of what waits for a receiver, if that is more than `over` messages; of at most `most`."""
        single = "SELECT id FROM message WHERE receiver = ? AND unit IS NULL ORDER BY id LIMIT ?"
        ids = self._all(single, receiver, most)
        if len(ids) > over:
            with _guarded(self.path):
                self._db.executemany("UPDATE message SET unit = ? WHERE id = ?", [(ids[0][0], *each) for each in ids])

    def units(self, receiver: str, most: int) -> list[Unit]:
        """What is to be sent to a receiver, the least tried first; at most `most` units."""
        heads = self._all(
            "SELECT coalesce(unit, id) AS head, max(tries) AS tried FROM message WHERE receiver = ? GROUP BY head"
            " ORDER BY tried, head LIMIT ?",
            receiver, most,
        )  # fmt: skip
        return [self._unit(receiver, head) for head, _ in heads]

    def _unit(self, receiver: str, head: int) -> Unit:
        rows = self._all(
            "SELECT id, body, tries, made_at FROM message WHERE receiver = ? AND coalesce(unit, id) = ? ORDER BY id",
            receiver, head,
        )  # fmt: skip
        events = tuple(json.loads(body) for _, body, _, _ in rows)
        return Unit(tuple(row[0] for row in rows), events, max(row[2] for row in rows), min(row[3] for row in rows))

    def delivered(self, receiver: str, ids: Sequence[int]) -> None:
        """A unit has arrived."""
        self._forget(ids)
        self._do("DELETE FROM receiver WHERE key = ?", receiver)

    def refused(self, receiver: str, ids: Sequence[int], why: str) -> None:
        """A unit is not wanted, and given up."""
        self._forget(ids)
        self._note_dropped(receiver, len(ids))
        self._do("UPDATE receiver SET why = ?, failures = 0 WHERE key = ?", why, receiver)

    def failed(self, receiver: str, ids: Sequence[int], why: str, due_at: float) -> None:
        """A unit is to be tried again, and its receiver not before."""
        with _guarded(self.path):
            self._db.executemany("UPDATE message SET tries = tries + 1 WHERE id = ?", [(each,) for each in ids])
        self._do(
            "INSERT INTO receiver (key, failures, due_at, why) VALUES (?, 1, ?, ?) ON CONFLICT (key)"
            " DO UPDATE SET failures = failures + 1, due_at = excluded.due_at, why = excluded.why",
            receiver, due_at, why,
        )  # fmt: skip

    def failures(self, receiver: str) -> tuple[int, str, int]:
        """How often in a row deliveries to it failed, why the last did, and how many messages were given up."""
        found = self._all("SELECT failures, why, dropped FROM receiver WHERE key = ?", receiver)
        return found[0] if found else (0, "", 0)

    def drop(self, receiver: str) -> None:
        """Forgets a receiver and what waits for it."""
        self._do("DELETE FROM message WHERE receiver = ?", receiver)
        self._do("DELETE FROM receiver WHERE key = ?", receiver)

    def retry_now(self) -> None:
        """The configuration may be another: nobody has to wait any longer."""
        self._do("UPDATE receiver SET due_at = 0")

    def _forget(self, ids: Sequence[int]) -> None:
        with _guarded(self.path):
            self._db.executemany("DELETE FROM message WHERE id = ?", [(each,) for each in ids])

    def _note_dropped(self, receiver: str, count: int) -> None:
        self._do(
            "INSERT INTO receiver (key, dropped) VALUES (?, ?) ON CONFLICT (key)"
            " DO UPDATE SET dropped = dropped + excluded.dropped",
            receiver, count,
        )  # fmt: skip

    # arrays, of which only the beginning and the end are told

    def first_to_begin(self, array_id: int, size: int, now: float) -> bool:
        """Whether an element that has started is the first of its array."""
        self._know_array(array_id, size, now)
        return self._do("UPDATE array SET begun = 1 WHERE id = ? AND begun = 0", array_id) == 1

    def first_again(self, array_id: int, size: int, now: float) -> bool:
        """Whether an element that is queued again is the first of its array."""
        self._know_array(array_id, size, now)
        return self._do("UPDATE array SET requeued = 1 WHERE id = ? AND requeued = 0", array_id) == 1

    def element_again(self, array_id: int, size: int, job: int, now: float) -> None:
        """An element is queued again. If its end was told, the array ends once more."""
        self._know_array(array_id, size, now)
        if self._do("UPDATE element SET state = NULL, line = '' WHERE job = ? AND state IS NOT NULL", job):
            self._do("UPDATE array SET ended = ended - 1 WHERE id = ?", array_id)
        elif self._was_told(array_id) and not self._all("SELECT 1 FROM element WHERE job = ?", job):
            self._do("INSERT INTO element (job, array) VALUES (?, ?)", job, array_id)
            self._do("UPDATE array SET size = size + 1 WHERE id = ?", array_id)

    def element_ended(self, array_id: int, size: int, job: int, state: str, line: str, now: float) -> bool:
        """An element has ended, with a `line` on it for the summary; whether it was the last."""
        self._know_array(array_id, size, now)
        known = self._all("SELECT state FROM element WHERE job = ?", job)
        self._do("INSERT OR REPLACE INTO element VALUES (?, ?, ?, ?)", job, array_id, state, line)
        if not known and self._was_told(array_id):
            self._do("UPDATE array SET size = size + 1 WHERE id = ?", array_id)
        if not known or known[0][0] is None:
            self._do("UPDATE array SET ended = ended + 1 WHERE id = ?", array_id)
        return bool(self._all("SELECT ended >= size FROM array WHERE id = ?", array_id)[0][0])

    def take_summary(self, array_id: int, most: int) -> dict[str, Any]:
        """How the elements of an array ended, with at most `most` lines; they are told with that."""
        states = dict(self._all("SELECT state, count(*) FROM element WHERE array = ? GROUP BY state", array_id))
        lines = self._all(
            "SELECT line FROM element WHERE array = ? AND line != '' ORDER BY job LIMIT ?", array_id, most
        )
        unlike = self._all("SELECT count(*) FROM element WHERE array = ? AND line != ''", array_id)[0][0]
        self._do("DELETE FROM element WHERE array = ?", array_id)
        self._do("UPDATE array SET size = 0, ended = 0, told = told + 1 WHERE id = ?", array_id)
        return {
            "count": sum(states.values()),
            "states": states,
            "failures": [row[0] for row in lines],
            "more": unlike - len(lines),
        }

    def forget_arrays(self, before: float) -> None:
        """Drops those of which nothing has been heard since."""
        self._do("DELETE FROM element WHERE array IN (SELECT id FROM array WHERE at < ?)", before)
        self._do("DELETE FROM array WHERE at < ?", before)

    def _know_array(self, array_id: int, size: int, now: float) -> None:
        self._do(
            "INSERT INTO array (id, size, at) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at",
            array_id, size, now,
        )  # fmt: skip

    def _was_told(self, array_id: int) -> bool:
        return bool(self._all("SELECT told FROM array WHERE id = ?", array_id)[0][0])

    # marks of time limits

    def set_mark(self, job: int, word: str, due_at: float, event: Event) -> None:
        """`event` is to be told at that time, unless the job has ended by then."""
        self._do(
            "INSERT OR REPLACE INTO mark (job, word, due_at, event) VALUES (?, ?, ?, ?)",
            job, word, due_at, json.dumps(event),
        )  # fmt: skip

    def drop_marks(self, job: int) -> None:
        """The attempt is over."""
        self._do("DELETE FROM mark WHERE job = ?", job)

    def pause_marks(self, job: int, at: float) -> None:
        """The job stands still."""
        self._do("UPDATE mark SET left = due_at - ?, due_at = NULL WHERE job = ? AND due_at IS NOT NULL", at, job)

    def go_on_with_marks(self, job: int, at: float) -> None:
        """The job runs again."""
        self._do("UPDATE mark SET due_at = ? + left, left = NULL WHERE job = ? AND left IS NOT NULL", at, job)

    def marks(self, jobs: range) -> list[tuple[int, str, dict[str, Any]]]:
        """The marks of these jobs: the job, the word, and the event."""
        rows = self._all("SELECT job, word, event FROM mark WHERE job BETWEEN ? AND ?", jobs.start, jobs.stop - 1)
        return [(job, word, json.loads(event)) for job, word, event in rows]

    def shift_mark(self, job: int, word: str, by: float, event: Event) -> None:
        """The job has another time limit."""
        self._do(
            "UPDATE mark SET due_at = due_at + ?, left = left + ?, event = ? WHERE job = ? AND word = ?",
            by, by, json.dumps(event), job, word,
        )  # fmt: skip

    def due_marks(self, now: float) -> list[tuple[int, str, float, dict[str, Any]]]:
        """Takes the marks that are due: the job, the word, when it was, and the event."""
        rows = self._all("SELECT job, word, due_at, event FROM mark WHERE due_at <= ? ORDER BY due_at", now)
        for job, word, _, _ in rows:
            self._do("DELETE FROM mark WHERE job = ? AND word = ?", job, word)
        return [(job, word, at, json.loads(event)) for job, word, at, event in rows]

    def next_mark(self) -> float | None:
        """When the next mark is due."""
        found: float | None = self._all("SELECT min(due_at) FROM mark")[0][0]
        return found

    def has_marks(self) -> bool:
        """Whether any mark is set."""
        return bool(self._all("SELECT 1 FROM mark LIMIT 1"))
