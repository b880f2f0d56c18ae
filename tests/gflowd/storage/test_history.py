from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gflowd.core.errors import Refused, SystemFailed
from gflowd.paths import State
from gflowd.storage import history as module
from gflowd.storage import history_queries
from gflowd.storage.history import Entry, History, HistoryFailed, Sheet
from gflowd.storage.history_queries import Choice
from gflowd.storage.store import Store


def spec(user: str = "ada", at: float = 1.0, **more: Any) -> dict[str, Any]:
    return {"command": ["x"], "cwd": "/", "env": "e", "name": "n", "submitted_at": at, "user": user, **more}


def end(at: float = 9.0, state: str = "finished", **more: Any) -> dict[str, Any]:
    return {"is": "ended", "state": state, "ended_at": at, **more}


def put(history: History, job_id: int, at: float = 9.0, record: dict[str, Any] | None = None, **more: Any) -> None:
    """A job of its own."""
    history.write([(job_id, Entry(job_id, end(at, **more), None, ()))], [Sheet(job_id, 1, at, record or spec(), None)])


@pytest.fixture
def history(state: State) -> Iterator[History]:
    made = History(state.history, write=True)
    yield made
    made.close()


def everything(history: History) -> list[history_queries.Record]:
    return list(history_queries.records(history, history_queries.chosen(history, Choice(), ())))


def test_records_come_back_as_they_went(history: History) -> None:
    record, tried = spec(name="ä\n\u2028", family={"ranges": [[1, 2, 1]]}), end(3.0, "failed", exit_code=1)
    entries = [
        (5, Entry(5, end(9.0, run={"gpu_ids": [0, 1]}, started_at=4.0), {"held": True}, [(1, tried)])),
        (5, Entry(6, end(8.0, "cancelled", reason="DependencyFailed:3"), None, ())),
    ]
    history.write(entries, [Sheet(5, 2, 9.0, record, {"max_concurrent": 1})])
    assert everything(history) == [
        ("spec", 5, record), ("limit", 5, {"max_concurrent": 1}),
        ("phase", 5, entries[0][1].phase), ("phase", 6, entries[1][1].phase), ("wish", 5, {"held": True}),
        ("attempt", "5.1", tried),
    ]  # fmt: skip
    assert (history.greatest_id(), history_queries.count(history)) == (6, 2)


def test_writing_twice_replaces(history: History) -> None:
    put(history, 1, state="failed")
    put(history, 1)
    assert everything(history) == [("spec", 1, spec()), ("phase", 1, end())]


def test_jobs_without_their_spec_are_not_there_yet(history: History) -> None:
    history.write([(7, Entry(7, end(), None, ())), (7, Entry(8, end(), None, ()))], [])
    assert everything(history) == []
    assert history.outcome(7, whole=False) is None
    assert history_queries.within(history, 7, 8) == []
    assert history.greatest_id() == 8  # no such id is to be given again


def test_specs_are_found_by_the_ids_of_their_jobs(history: History) -> None:
    put(history, 1)
    history.write([(3, Entry(n, end(), None, ())) for n in (3, 4, 5)], [Sheet(3, 3, 9.0, spec(), None)])
    put(history, 9)
    for first, last, found in ((1, 1, [1]), (2, 2, []), (4, 4, [3]), (5, 9, [3, 9]), (6, 8, []), (1, 99, [1, 3, 9])):
        assert history_queries.within(history, first, last) == found


def test_the_last_submissions_are_those_of_the_user(history: History) -> None:
    for job_id, user in ((1, "ada"), (2, "bob"), (3, "ada"), (4, "ada")):
        put(history, job_id, record=spec(user))
    assert history_queries.last_of(history, "ada", 2) == [4, 3]
    assert history_queries.last_of(history, "eve", 2) == []


def test_only_what_is_chosen_is_read(history: History) -> None:
    put(history, 1, 10.0, spec("ada", project="p"))
    put(history, 2, 20.0, spec("bob", name="m"), state="failed")
    put(history, 3, 30.0, spec("ada", name_template="t-{i}"))
    for choice, found in (
        (Choice(), [1, 2, 3]), (Choice(users={"ada"}), [1, 3]), (Choice(projects=["p"]), [1]),
        (Choice(names=["m"]), [2, 3]), (Choice(states={"failed", "timeout"}), [2]), (Choice(since=20.0), [2, 3]),
        (Choice(limit=2), [1, 2]), (Choice(limit=-2), [3, 2]), (Choice(limit=0), []),
        (Choice(users={"ada"}, since=20.0, limit=-5), [3]),
    ):  # fmt: skip
        assert history_queries.chosen(history, choice, ()) == found, choice
    assert history_queries.chosen(history, Choice(limit=1), {1}) == [2]


def test_outcomes_are_of_a_job_or_of_a_whole_array(history: History) -> None:
    entries = [Entry(3, end(9.0, started_at=5.0), None, ()), Entry(4, end(8.0, "failed"), None, ())]
    history.write([(3, entry) for entry in entries], [Sheet(3, 2, 9.0, spec(), None)])
    assert history.outcome(3, whole=True) == (2, 1, 8.0)
    assert history.outcome(3, whole=False) == (1, 1, 5.0)
    assert history.outcome(4, whole=False) == (1, 0, 8.0)
    assert history.outcome(4, whole=True) is None
    assert history.spec(3) == spec()
    assert history.spec(4) is None


def test_accounts_have_the_spans_of_all_attempts(history: History) -> None:
    run, used = {"gpu_ids": [2]}, {"cpu_seconds": 7.5, "gpu_percent": 50.0}
    before = end(5.0, "failed", started_at=4.0, run={"gpu_ids": [0, 1]}, used=used)
    tries = [(1, before), (2, end(6.0, "failed"))]  # the second never began
    history.write([(1, Entry(1, end(9.0, started_at=8.0, run=run), None, tries))], [Sheet(1, 1, 9.0, spec(), None)])
    put(history, 2, state="cancelled")
    first, second = history_queries.accounts(history, Choice(), ())
    assert first == (
        "ada",
        None,
        "finished",
        1.0,
        9.0,
        ((4.0, 5.0, (0, 1)), (8.0, 9.0, (2,))),
        ((7.5, None, 50.0, 2.0),),
        None,
    )
    assert second == ("ada", None, "cancelled", 1.0, 9.0, (), (), None)
    assert len(list(history_queries.accounts(history, Choice(since=9.5), ()))) == 0
    assert len(list(history_queries.accounts(history, Choice(), {1}))) == 1


def test_what_is_too_old_is_forgotten_but_for_the_greatest_id(history: History) -> None:
    history.write([(1, Entry(n, end(5.0), None, [(1, end(4.0))])) for n in (1, 2)], [Sheet(1, 2, 5.0, spec(), None)])
    put(history, 3, 6.0)
    put(history, 4, 20.0)
    put(history, 5, 7.0)
    assert history.forget(10.0, 2) is True
    assert history_queries.chosen(history, Choice(), ()) == [3, 4, 5]
    assert history.forget(10.0, 99) is False
    assert [record[1] for record in everything(history)] == [4, 5, 4, 5]
    assert history.greatest_id() == 5


def test_a_reader_sees_what_is_committed_while_the_writer_goes_on(history: History, state: State) -> None:
    put(history, 1)
    reader = History(state.history)
    put(history, 2)
    assert reader.greatest_id() == 2
    with pytest.raises(HistoryFailed):
        put(reader, 3)
    reader.close()


def test_the_file_is_private_and_must_be_ours(state: State, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        History(state.history)
    History(state.history, write=True).close()
    path = Path(state.history)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(Refused, match="chmod 600"):
        History(state.history)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    for write in (False, True):
        with pytest.raises(Refused, match="symbolic link"):
            History(state.history, write=write)


@pytest.mark.parametrize("name", ["a b", "100%", "what?", "#1", "ä", "%41"])
def test_any_name_of_a_directory_will_do(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    place.mkdir()
    made = History(str(place / "history.db"), write=True)
    put(made, 1)
    made.close()
    assert [each.name for each in place.iterdir()] == ["history.db"]
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_an_empty_file_is_an_empty_history(state: State) -> None:
    Path(state.history).touch(mode=0o600)
    reader = History(state.history)
    assert (reader.greatest_id(), history_queries.count(reader), everything(reader)) == (0, 0, [])
    assert reader.outcome(1, whole=True) is None
    assert reader.spec(1) is None
    reader.close()


def damage(path: str, how: str) -> None:
    if how == "garbage":
        Path(path).write_bytes(b"not a database at all" * 100)
    else:
        with sqlite3.connect(path) as db:
            db.execute({"no table": "DROP TABLE job", "newer": "PRAGMA user_version = 99"}[how])
        db.close()


@pytest.mark.parametrize(("how", "damaged"), [("garbage", True), ("no table", True), ("newer", False)])
def test_a_file_that_is_no_history_is_told_from_one_that_cannot_be_read_now(
    state: State, how: str, damaged: bool
) -> None:
    History(state.history, write=True).close()
    damage(state.history, how)
    for write in (False, True):
        with pytest.raises(HistoryFailed) as error:
            History(state.history, write=write)
        assert error.value.damaged == damaged
        assert isinstance(error.value, SystemFailed)


def test_a_damaged_history_is_set_aside_with_all_that_belongs_to_it(state: State) -> None:
    made = History(state.history, write=True)
    put(made, 1)
    assert made.is_in_place()
    kept = [module.set_aside(state.history)]
    assert not made.is_in_place()
    History(state.history, write=True).close()
    kept.append(module.set_aside(state.history))
    assert len({*kept}) == 2
    assert all(name.startswith(f"{state.history}.corrupt-") for name in kept)
    assert not [name for name in os.listdir(state.root) if name.startswith("history.db-")]
    with contextlib.closing(History(kept[0])) as aside:
        assert aside.greatest_id() == 1  # nothing that was committed is lost, as a look with sqlite3 shows
    made.close()


def test_no_id_of_the_history_is_ever_given_again(state: State, history: History) -> None:
    with Store(state).commit() as commit:
        commit.put("spec", commit.allocate(41), spec())
    put(history, 41)
    path = Path(state.snapshot)
    path.write_bytes(path.read_bytes().replace(b'"user"', b'"uzer"'))
    with Store(state).commit() as commit:
        assert commit.allocate() > 41
    path.unlink()
    with pytest.raises(SystemFailed, match="is gone"), Store(state).commit():
        pass


def test_an_unreadable_history_does_not_keep_a_snapshot_from_being_mended(state: State) -> None:
    Path(state.history).touch(mode=0o600)
    damage(state.history, "garbage")
    store = Store(state)
    assert store.first_free_id() == 1
    assert "history.db" in store.notes[0]
