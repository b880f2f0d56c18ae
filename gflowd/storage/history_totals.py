"""The totals of the history, kept in it: what is written to it is counted in the same transaction, once, and stays
counted when it is forgotten. What has not been counted yet, since the tables were lost or a spec has very many jobs, is
listed and counted bit by bit; whoever reads counts that by itself.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gflowd.core.accounting.ended_totals import LAYOUT, Group, Tally

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping
    from typing import Any

    Record = Mapping[str, Any]
    Ended = tuple[Record | None, Record, list[Record]]  # of a job: its wish, its last phase, its earlier attempts

AT_ONCE = 1000  # jobs of a spec that are counted when they are written
SCHEMA = """
DROP TABLE IF EXISTS tally;
DROP TABLE IF EXISTS uncounted;
CREATE TABLE tally (               -- see `core.accounting.ended_totals`
    user TEXT NOT NULL,
    project TEXT NOT NULL,         -- '' is none
    state TEXT NOT NULL,
    reason TEXT NOT NULL,          -- '' is none
    layout INTEGER NOT NULL,
    numbers TEXT NOT NULL,
    PRIMARY KEY (user, project, state, reason)
) WITHOUT ROWID;
CREATE TABLE uncounted (
    spec INTEGER PRIMARY KEY,
    next INTEGER NOT NULL          -- the first of its jobs that is not counted
);
INSERT INTO uncounted SELECT id, id FROM spec;
"""
_JOBS = """
    SELECT spec.id, spec.record, job.wish, job.phase,
           (SELECT json_group_array(json(attempt.phase)) FROM attempt WHERE attempt.job = job.id)
    FROM spec JOIN job ON job.spec = spec.id AND job.id BETWEEN spec.id AND spec.id + spec.size - 1
"""
_OF_SPEC = f"{_JOBS} WHERE spec.id = ? AND job.id BETWEEN ? AND ?"
_UNCOUNTED = f"{_JOBS} JOIN uncounted ON uncounted.spec = spec.id WHERE job.id >= uncounted.next"


def is_there(db: sqlite3.Connection) -> bool:
    """Whether the totals are kept, in the form that this version gives them."""
    names = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE name IN ('tally', 'uncounted')")}
    if len(names) < 2:
        return False
    return not db.execute("SELECT 1 FROM tally WHERE layout != ? LIMIT 1", (LAYOUT,)).fetchone()


def create(db: sqlite3.Connection) -> None:
    """Makes the tables, or makes them anew; everything is then still to be counted."""
    db.executescript(f"BEGIN IMMEDIATE;{SCHEMA}COMMIT;")


def forget_counted(db: sqlite3.Connection, spec_ids: Iterable[int]) -> None:
    """Specs whose jobs are written again, which may have another end by now, are taken out until they are complete."""
    for spec_id in spec_ids:
        for (size,) in db.execute("SELECT size FROM spec WHERE id = ?", (spec_id,)).fetchall():
            (next_id,) = db.execute("SELECT next FROM uncounted WHERE spec = ?", (spec_id,)).fetchone() or (
                spec_id + size,
            )
            _add(db, _counted(db, _OF_SPEC, spec_id, spec_id, next_id - 1), -1)
            db.execute("DELETE FROM uncounted WHERE spec = ?", (spec_id,))
            db.execute("DELETE FROM spec WHERE id = ?", (spec_id,))


def count(db: sqlite3.Connection, jobs: Iterable[tuple[int, Ended]], specs: Iterable[tuple[int, int, Record]]) -> None:
    """The `specs` that are now complete: id, size and record of each; `jobs`: what was written with them, by spec."""
    written: dict[int, list[Ended]] = {}
    for spec_id, job in jobs:
        written.setdefault(spec_id, []).append(job)
    found = Tally()
    for spec_id, size, spec in specs:
        ours = written.get(spec_id, [])
        if len(ours) < size:
            db.execute("INSERT OR REPLACE INTO uncounted VALUES (?, ?)", (spec_id, spec_id))
            continue
        for wish, phase, attempts in ours:
            found.job(spec, wish, phase, attempts)
    _add(db, found)


def count_some(db: sqlite3.Connection) -> bool:
    """Counts some of what is not counted yet; returns whether there is more."""
    left = AT_ONCE
    for spec_id, next_id, size in db.execute(
        "SELECT spec, next, size FROM uncounted JOIN spec ON spec.id = uncounted.spec LIMIT ?", (AT_ONCE,)
    ).fetchall():
        last = min(spec_id + size, next_id + left) - 1
        _add(db, _counted(db, _OF_SPEC, spec_id, next_id, last))
        left -= last - next_id + 1
        if last < spec_id + size - 1:
            db.execute("UPDATE uncounted SET next = ? WHERE spec = ?", (last + 1, spec_id))
        else:
            db.execute("DELETE FROM uncounted WHERE spec = ?", (spec_id,))
        if not left:
            break
    return db.execute("SELECT 1 FROM uncounted LIMIT 1").fetchone() is not None


def read(db: sqlite3.Connection) -> Tally:
    """The totals of all that is and was in the history; call it within a transaction."""
    kept = is_there(db)
    found = Tally(_rows(db)) if kept else Tally()
    found.add(_counted(db, _UNCOUNTED if kept else _JOBS))
    return found


def _rows(db: sqlite3.Connection) -> dict[Group, list[int]]:
    rows = db.execute("SELECT user, project, state, reason, numbers FROM tally")
    return {Group(*names): json.loads(numbers) for *names, numbers in rows}


def _counted(db: sqlite3.Connection, query: str, *values: int) -> Tally:
    """The totals of the jobs that a query finds."""
    found, last, spec = Tally(), None, {}
    for spec_id, record, wish, phase, attempts in db.execute(query, values):
        if spec_id != last:
            last, spec = spec_id, json.loads(record)
        past = () if attempts == "[]" else json.loads(attempts)
        found.job(spec, None if wish is None else json.loads(wish), json.loads(phase), past)
    return found


def _add(db: sqlite3.Connection, more: Tally, by: int = 1) -> None:
    for group, numbers in more.numbers.items():
        row = db.execute(
            "SELECT numbers FROM tally WHERE (user, project, state, reason) = (?, ?, ?, ?)", group
        ).fetchone()
        kept = Tally({} if row is None else {group: json.loads(row[0])})
        kept.add(Tally({group: numbers}), by)
        db.execute(
            "INSERT OR REPLACE INTO tally VALUES (?, ?, ?, ?, ?, ?)", (*group, LAYOUT, json.dumps(kept.numbers[group]))
        )
