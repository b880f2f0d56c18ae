"""Queries of the history: which jobs it has, their records as in the snapshot, their accounts."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from gflowd.core.accounting import statistics
from gflowd.core.accounting.statistics import Account
from gflowd.core.job.records import ATTEMPT, LIMIT, PHASE, SPEC, WISH
from gflowd.storage.history import ATTEMPTS, JOBS, marks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from gflowd.core.accounting.statistics import Span, Use
    from gflowd.storage.history import History

    Record = tuple[str, int | str, Any]  # kind, id, value
    Attempt = tuple[Span, Use | None]

CHUNK = 500  # specs that are read at a time
WORTH_ORJSON = 1 << 20  # bytes


class Choice(NamedTuple):
    """A selection of specs: those with a job for which all of this holds. `limit`: at most this many, the last if
    negative.
    """

    users: Collection[str] = ()
    projects: Collection[str] = ()
    names: Collection[str] = ()
    states: Collection[str] = ()
    since: float | None = None  # something happened to it then or later
    limit: int | None = None


def count(history: History) -> int:
    """How many jobs there are."""
    return sum(found or 0 for (found,) in history.rows("SELECT sum(size) FROM spec"))


def within(history: History, first: int, last: int) -> list[int]:
    """The specs of the jobs from id `first` to `last`."""
    begin = "coalesce((SELECT max(id) FROM spec WHERE id <= ?), ?)"
    query = f"SELECT id FROM spec WHERE id BETWEEN {begin} AND ? AND id + size > ?"
    return _ids(history, query, first, first, last, first)


def last_of(history: History, user: str, count: int) -> list[int]:
    """The last `count` submissions of a user; later runs of series are none."""
    submitted = "user = ? AND record NOT LIKE '%\"series\":%'"
    return _ids(history, f"SELECT id FROM spec WHERE {submitted} ORDER BY id DESC LIMIT ?", user, count)


def because_of(history: History, ids: Sequence[int]) -> list[int]:
    """The jobs that were cancelled because of one of the jobs or arrays `ids`."""
    query = "SELECT id FROM job WHERE because IN ({})"
    return [found for part in _chunks(ids) for found in _ids(history, query.format(marks(len(part))), *part)]


def chosen(history: History, choice: Choice, known: Collection[int]) -> list[int]:
    """The selected specs, except for those `known`."""
    where, values = _where(choice)
    order = "DESC" if choice.limit is not None and choice.limit < 0 else "ASC"
    found = history.rows(f"SELECT id FROM spec WHERE {where} ORDER BY id {order}", *values)
    others = (spec_id for (spec_id,) in found if spec_id not in known)
    return list(others if choice.limit is None else islice(others, abs(choice.limit)))


def records(history: History, spec_ids: Sequence[int]) -> Iterator[Record]:
    """All records of specs, as in the snapshot."""
    for part in _chunks(spec_ids):
        these = f"WHERE spec.id IN ({marks(len(part))})"
        for kind, query in (
            (SPEC, f"SELECT id, record FROM spec {these}"),
            (LIMIT, f'SELECT id, "limit" FROM spec {these} AND "limit" IS NOT NULL'),
            (PHASE, f"SELECT job.id, phase FROM {JOBS} {these}"),
            (WISH, f"SELECT job.id, wish FROM {JOBS} {these} AND wish IS NOT NULL"),
            (ATTEMPT, f"SELECT attempt.job || '.' || number, phase FROM {ATTEMPTS} {these}"),
        ):
            rows = list(history.rows(query, *part))
            for (key, _), value in zip(rows, _parsed([text for _, text in rows]), strict=True):
                yield kind, key, value


def accounts(history: History, choice: Choice, known: Collection[int]) -> Iterator[Account]:
    """The jobs of the selected specs, except for those `known`, as accounts."""
    gpus: dict[str | None, tuple[int, ...]] = {None: ()}
    past: dict[int, list[Attempt]] = {}
    used = "json_extract(phase, '$.used')"
    query = (
        f"SELECT job, started_at, ended_at, gpus, {used} FROM attempt WHERE started_at IS NOT NULL ORDER BY job, number"
    )
    for job_id, started_at, ended_at, text, record in history.rows(query):
        past.setdefault(job_id, []).append(_attempt((started_at, ended_at, _gpus(gpus, text)), record))
    where, values = _where(choice)
    due = "CASE WHEN size = 1 AND instr(record, '\"repeat\":') THEN json_extract(record, '$.repeat.due') END"
    columns = f"job.id, spec.id, user, project, state, submitted_at, started_at, ended_at, gpus, {used}, {due}"
    for job_id, spec_id, user, project, state, submitted_at, started_at, ended_at, text, record, due_at in history.rows(
        f"SELECT {columns} FROM {JOBS} WHERE {where}", *values
    ):
        if spec_id not in known:
            last = () if started_at is None else (_attempt((started_at, ended_at, _gpus(gpus, text)), record),)
            every = (*past.get(job_id, ()), *last)
            uses = tuple(use for _, use in every if use is not None)
            spans = tuple(span for span, _ in every)
            yield Account(user, project, state, submitted_at, ended_at, spans, uses, due_at)


def _attempt(span: Span, record: str | None) -> Attempt:
    return span, None if record is None else statistics.use(json.loads(record), span)


def _where(choice: Choice) -> tuple[str, list[object]]:
    """The condition on a spec. At least one of its jobs must be in one of the states."""
    parts = ["1"]
    values: list[object] = []
    for column, words in (("user", choice.users), ("project", choice.projects), ("name", choice.names)):
        if words:
            template = "name IS NULL OR " if column == "name" else ""
            parts.append(f"({template}{column} IN ({marks(len(words))}))")
            values += words
    if choice.since is not None:
        parts.append("last_at >= ?")
        values.append(choice.since)
    if choice.states:
        of_spec = "job.id BETWEEN spec.id AND spec.id + spec.size - 1"
        parts.append(f"EXISTS (SELECT 1 FROM job WHERE {of_spec} AND state IN ({marks(len(choice.states))}))")
        values += choice.states
    return " AND ".join(parts), values


def _ids(history: History, query: str, *values: object) -> list[int]:
    return [found for (found,) in history.rows(query, *values)]


def _gpus(known: dict[str | None, tuple[int, ...]], text: str | None) -> tuple[int, ...]:
    if text not in known:
        known[text] = tuple(map(int, (text or "").split(",")))
    return known[text]


def _parsed(texts: list[str]) -> list[Any]:
    whole = f"[{','.join(texts)}]"
    if len(whole) < WORTH_ORJSON:
        return json.loads(whole)  # type: ignore[no-any-return]
    import orjson

    return orjson.loads(whole)  # type: ignore[no-any-return]


def _chunks(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[place : place + CHUNK] for place in range(0, len(ids), CHUNK))
