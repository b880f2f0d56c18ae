"""What metrics are made of, as it is in the files: each job counts once, wherever it is and whoever was killed."""

from __future__ import annotations

import os
from typing import Any

import orjson
import pytest
from support import specs

from gflowd.core.accounting.ended_totals import ENDS, JOBS
from gflowd.core.errors import GflowError
from gflowd.core.job import codec
from gflowd.core.metrics.metric_values import Daemon, Values
from gflowd.paths import State, replace_file
from gflowd.storage.history import Entry, History, Sheet
from gflowd.storage.metrics_input import Readings
from gflowd.storage.store import Store

SPEC = codec.encode(specs.SPEC)
END = {
    "is": "ended",
    "state": "finished",
    "ended_at": 9.0,
    "started_at": 2.0,
    "run": {"executor": "tmux", "launched_at": 2.0},
}
DAEMON = Daemon("1", 1.0)


@pytest.fixture
def readings(state: State) -> Any:
    made = Readings(state)
    yield made
    made.close()


def put(store: Store, **records: dict[int | str, Any]) -> None:
    with store.commit() as commit:
        commit.allocate(9)
        for kind, of_kind in records.items():
            for key, value in of_kind.items():
                commit.put(kind, key, value)


def archive(state: State, *ids: int) -> None:
    history = History(state.history, write=True)
    history.write([(i, Entry(i, END, None, ())) for i in ids], [Sheet(i, 1, 9.0, SPEC, None) for i in ids])
    history.close()


def observe(state: State, pid: int, **more: Any) -> None:
    whole = {"at": 5.0, "pid": pid, "capacity": {"gpus": 0}, "reasons": {"1": "Resources"}, "next_id": 9, **more}
    replace_file(state.observed, orjson.dumps(whole), durable=False)


def counts(values: Values) -> tuple[int, int, int]:
    """The jobs that ended, their attempts, and all that were submitted."""
    assert values.tally is not None
    jobs = values.tally.sum(JOBS)
    return jobs, values.tally.sum(ENDS), jobs + values.standing.states.total()


def test_a_job_counts_once_on_its_way_from_the_snapshot_to_the_history(
    state: State, store: Store, readings: Any
) -> None:
    assert counts(readings.values(None, None, 10.0)) == (0, 0, 0)
    put(store, spec={1: SPEC, 2: SPEC, 3: SPEC}, phase={1: END, 2: END})
    assert counts(readings.values(None, None, 10.0)) == (2, 2, 3)
    archive(state, 1, 2)  # and the scheduler is killed before it has dropped them
    for each in (readings, Readings(state)):
        assert counts(each.values(None, None, 10.0)) == (2, 2, 3)
    put(store, spec={1: None}, phase={1: None})
    assert counts(readings.values(None, None, 10.0)) == (2, 2, 3)
    put(store, spec={2: None}, phase={2: None, 3: END})
    assert counts(readings.values(None, None, 10.0)) == (3, 3, 3)
    archive(state, 3)
    history = History(state.history, write=True)
    history.forget(99.0, 10)
    history.close()
    put(store, spec={3: None}, phase={3: None})
    for each in (readings, Readings(state)):
        assert counts(each.values(None, None, 10.0)) == (3, 3, 3), "what is forgotten stays counted"


def test_a_retried_job_has_an_attempt_that_ended(store: Store, readings: Any) -> None:
    put(store, spec={1: SPEC}, phase={1: {"is": "queued", "attempt": 2}}, attempt={"1.1": {**END, "state": "failed"}})
    assert counts(readings.values(None, None, 10.0)) == (0, 1, 1)


def test_what_the_daemon_saw_is_that_of_the_running_one(state: State, store: Store, readings: Any) -> None:
    put(store, spec={1: SPEC})
    observe(state, 42, trouble="disk full", service_troubles={"metrics_updater": None})
    values = readings.values(DAEMON, 42, 10.0)
    assert values.standing.waiting == {"Resources": 1}
    assert values.seen is not None
    assert values.seen.troubles == {"scheduler": "disk full", "gpus": None, "metrics_updater": None}
    assert values.snapshot == os.path.getsize(state.snapshot)
    assert readings.values(DAEMON, 43, 10.0).seen is None
    assert readings.values(None, None, 10.0).standing.waiting == {"DaemonDown": 1}
    observe(state, 42, reasons={"1": "Quota"})
    assert readings.values(DAEMON, 42, 10.0).standing.waiting == {"Quota": 1}


def test_it_is_counted_again_only_when_something_changed_or_came_due(
    store: Store, readings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, spec={1: {**SPEC, "begin_at": 50.0}})
    first = readings.values(None, None, 10.0).standing
    assert first.waiting == {"BeginTime": 1}
    assert readings.values(None, None, 49.0).standing is first
    assert readings.values(None, None, 50.0).standing.waiting == {"DaemonDown": 1}
    assert readings.values(None, None, 49.0).standing.waiting == {"BeginTime": 1}, "a clock that was set back"


def test_a_history_that_cannot_be_read_leaves_out_what_ended_and_says_why(
    state: State, store: Store, readings: Any
) -> None:
    put(store, spec={1: SPEC}, phase={1: END})
    replace_file(state.history, b"no database, but long enough to be looked at as one", durable=False)
    values = readings.values(None, None, 10.0)
    assert (values.tally, values.standing.ended) == (None, [(1, 1)])
    assert "file is not a database" in readings.trouble
    os.unlink(state.history)
    assert counts(readings.values(None, None, 10.0)) == (1, 1, 1)
    assert readings.trouble is None
    replace_file(state.snapshot, b"x\n" * 100, durable=False)
    with pytest.raises(GflowError):
        readings.values(None, None, 10.0)
