"""The totals that the history keeps: exact over repetitions, crashes, requeues, a lost table and a bounded history."""

from __future__ import annotations

import os
import sqlite3
from typing import Any

import pytest

from gflowd.core.accounting.ended_totals import ENDS, JOBS, Tally
from gflowd.paths import State
from gflowd.storage import history as module
from gflowd.storage import history_totals
from gflowd.storage.history import Entry, History, Sheet

SPEC = {"user": "ada", "submitted_at": 1.0, "name": "n"}


def entry(job_id: int, state: str = "finished", *attempts: tuple[int, dict[str, Any]]) -> Entry:
    phase = {"is": "ended", "state": state, "ended_at": 9.0, "started_at": 2.25, "run": {"gpu_ids": [0]}}
    return Entry(job_id, phase, None, attempts)


def sheet(spec_id: int, size: int = 1) -> Sheet:
    return Sheet(spec_id, size, 9.0, SPEC, None)


def put(history: History, *ids: int, state: str = "finished") -> None:
    history.write([(job_id, entry(job_id, state)) for job_id in ids], [sheet(job_id) for job_id in ids])


def counts(history: History) -> dict[str, tuple[int, int]]:
    tally, _ = history.tally(())
    by_state = {state: (each.sum(JOBS), each.sum(ENDS)) for (state,), each in tally.total("state").items()}
    return {state: found for state, found in by_state.items() if any(found)}


def alter(state: State, *lines: str) -> None:
    with sqlite3.connect(state.history) as db:
        for line in lines:
            db.execute(line)
    db.close()


@pytest.fixture
def history(state: State) -> Any:
    made = History(state.history, write=True)
    yield made
    made.close()


def test_what_is_written_counts_once_however_often(history: History) -> None:
    put(history, 1, 2)
    put(history, 2)
    failed = {"is": "ended", "state": "failed", "ended_at": 2.0}
    history.write([(3, entry(3, "timeout", (1, failed)))], [sheet(3)])
    assert counts(history) == {"finished": (2, 2), "failed": (0, 1), "timeout": (1, 1)}
    put(history, 1, state="cancelled")  # it was requeued before it had left the snapshot
    assert counts(history) == {"finished": (1, 1), "failed": (0, 1), "timeout": (1, 1), "cancelled": (1, 1)}
    tally, there = history.tally([1, 3, 4])
    assert there == {1, 3}
    assert tally.runs.total == 3 * 6_750_000


def test_what_is_forgotten_stays_counted(history: History) -> None:
    put(history, 1, 2, 3)
    assert not history.forget(99.0, 10)
    assert list(history.rows("SELECT id FROM spec")) == [(3,)]
    assert counts(history) == {"finished": (3, 3)}


def test_an_array_in_parts_counts_when_it_is_complete_and_bit_by_bit(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_totals, "AT_ONCE", 2)
    history.write([(1, entry(job_id)) for job_id in (1, 2, 3)], [])
    assert counts(history) == {}
    history.write([(1, entry(job_id)) for job_id in (4, 5)], [sheet(1, 5)])
    assert counts(history) == {"finished": (5, 5)}, "whoever reads counts what is not counted yet"
    assert history.forget(99.0, 10) is False
    for more in (True, True, False, False):
        assert history.count_some() is more
        assert counts(history) == {"finished": (5, 5)}
    history.write([(1, entry(1, "failed"))], [])  # again, since one of it was requeued
    assert counts(history) == {}
    history.write([(1, entry(job_id)) for job_id in (2, 3, 4, 5)], [sheet(1, 5)])
    history.count_some()
    history.write([(1, entry(1, "failed"))], [])  # once more, when a part of it is counted
    assert counts(history) == {}
    assert Tally(history_totals._rows(history._db)).sum(ENDS) == 0


@pytest.mark.parametrize(
    "loss",
    [
        ["DROP TABLE tally"], ["DROP TABLE uncounted"], ["UPDATE tally SET layout = 0"],
        ["DROP TABLE tally", "DROP TABLE uncounted", "PRAGMA user_version = 1"],
    ],
)  # fmt: skip
def test_lost_totals_are_counted_again_from_what_there_is(history: History, state: State, loss: list[str]) -> None:
    put(history, 1, 2)
    put(history, 3, state="failed")
    expected = counts(history)
    history.close()
    alter(state, *loss)
    reader = History(state.history)
    assert counts(reader) == expected
    reader.close()
    again = History(state.history, write=True)
    assert counts(again) == expected
    assert Tally(history_totals._rows(again._db)).sum(ENDS) == 0
    put(again, 4)
    while again.count_some():
        pass
    assert Tally(history_totals._rows(again._db)).sum(ENDS) == 4
    assert counts(again) == {"finished": (3, 3), "failed": (1, 1)}
    assert list(again.rows("PRAGMA user_version")) == [(module.FORMAT,)]
    again.close()


def test_an_empty_file_has_no_totals(state: State) -> None:
    os.close(os.open(state.history, os.O_CREAT, 0o600))
    reader = History(state.history)
    tally, there = reader.tally([1])
    assert (tally.numbers, there) == ({}, set())
    reader.close()
