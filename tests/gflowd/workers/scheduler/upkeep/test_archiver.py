"""Jobs on their way from the snapshot to the history: each is found exactly once at every step, whatever dies."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support import depth
from support.specs import SPEC

from gflowctl.context import Context
from gflowctl.view.views import View
from gflowd.config import loader
from gflowd.core.errors import SystemFailed
from gflowd.core.job import codec
from gflowd.core.job.arrays import Family
from gflowd.core.job.dependencies import Dependency, Needs
from gflowd.core.job.model import Ended, Queued, Run, Starting, Wish
from gflowd.core.moment import Moment
from gflowd.core.queue.dependency_rules import UNKNOWN, Outcome
from gflowd.core.queue.job_queue import JobQueue
from gflowd.core.queue.job_records import JobRecords
from gflowd.paths import State
from gflowd.storage.history import History
from gflowd.storage.history_queries import Choice
from gflowd.storage.record_log import Fold
from gflowd.storage.store import Follower, Store
from gflowd.workers.scheduler.upkeep import archiver as module
from gflowd.workers.scheduler.upkeep.archiver import Archiver

AFTER = 100.0
RUN = Run(executor="process", launched_at=1.0)
CONFIG = replace(loader.load(None, {"HOME": "/nonexistent"}, {}), history_after=AFTER)


class Desk:
    """A snapshot, and an archivist who works on it as the scheduler has it do."""

    def __init__(self, state: State, **settings: Any) -> None:
        self.state = state
        self.config = replace(CONFIG, **settings)
        self.store = Store(state)
        self.wall = 1000.0
        self.begin()

    def open(self) -> None:
        """As after a restart."""
        self.close()
        self.begin()

    def begin(self) -> None:
        self.follower = Follower(self.store)
        self.archiver = Archiver(self.state, self.config)
        self.job_queue = self.rebuilt()
        self.catch_up()

    def rebuilt(self) -> JobQueue:
        return JobQueue(JobRecords(*(self.fold.of(kind) for kind in ("spec", "wish", "phase"))), self.archiver.history)

    @property
    def now(self) -> Moment:
        return Moment(self.wall, self.wall, "boot")

    @property
    def fold(self) -> Fold:
        return self.follower.fold

    def catch_up(self) -> None:
        keys = self.follower.catch_up()
        if keys is None:
            self.job_queue = self.rebuilt()
            self.job_queue.refresh(self.fold.of("spec"), ())
            ids: Any = self.fold.of("phase")
        else:
            spec_ids: Any = [key for kind, key in keys if kind == "spec"]
            job_ids: Any = [key for kind, key in keys if kind in ("wish", "phase")]
            ids = self.job_queue.refresh(spec_ids, job_ids)
        self.archiver.note(ids, self.fold, self.job_queue)

    def submit(self, size: int = 0, **fields: Any) -> int:
        family = Family(ranges=((1, size, 1),)) if size else None
        with self.store.commit() as commit:
            job_id = commit.allocate(size or 1)
            commit.put("spec", job_id, codec.encode(SPEC.replace(family=family, **fields)))
        return job_id

    def put(self, kind: str, key: int | str, value: Any) -> None:
        with self.store.commit() as commit:
            commit.put(kind, key, codec.encode_phase(value) if kind in ("phase", "attempt") else codec.encode(value))

    def end(self, *ids: int, state: str = "finished") -> None:
        for job_id in ids:
            self.put("phase", job_id, Ended(state=state, ended_at=self.wall, started_at=self.wall - 1, run=RUN))

    def copy(self) -> bool:
        self.catch_up()
        return self.archiver.copy(self.fold, self.job_queue, self.now)

    def drop(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        with self.store.commit() as commit:
            meanwhile()
            self.catch_up()
            for kind, key in self.archiver.leaving(self.fold, self.job_queue):
                commit.put(kind, key, None)
        self.catch_up()

    def archive(self) -> None:
        """Until nothing is left to do now."""
        for _ in range(2000):
            if not self.copy() and self.archiver.wake_at(self.now) != self.now.mono:
                return
            self.drop()
        raise AssertionError("never done")

    def wait(self, seconds: float) -> None:
        self.wall += seconds

    def kept(self) -> set[int]:
        """The ids of all records of jobs in the snapshot."""
        fold = self.store.read()
        return {*fold.of("spec"), *fold.of("phase"), *fold.of("wish"), *fold.of("limit")}

    def view(self) -> View:
        """With the whole history."""
        found = View(Context({}, None, self.state.root), self.store.read())
        if found.has_history:
            found.recall(Choice())
        return found

    def close(self) -> None:
        self.archiver.history.close()
        self.follower.close()


@pytest.fixture
def make(state: State) -> Iterator[Callable[..., Desk]]:
    made: list[Desk] = []

    def begin(**settings: Any) -> Desk:
        made.append(Desk(state, **settings))
        return made[-1]

    yield begin
    for desk in made:
        desk.close()


@pytest.fixture
def desk(make: Callable[..., Desk]) -> Desk:
    return make()


def states(desk: Desk) -> dict[int, str]:
    view = desk.view()
    return {job_id: view.job(job_id).state for job_id in view.ids()}


def test_an_ended_job_leaves_when_its_time_has_come_and_not_before(desk: Desk) -> None:
    job_id, other = desk.submit(), desk.submit()
    desk.end(job_id)
    desk.wait(AFTER - 1)
    desk.archive()
    assert job_id in desk.kept()
    assert desk.archiver.wake_at(desk.now) == desk.now.mono + 1
    desk.wait(1)
    desk.archive()
    assert desk.kept() == {other}
    assert states(desk) == {job_id: "finished", other: "queued"}


def test_without_ended_jobs_there_is_nothing_to_wake_up_for_and_no_file(make: Callable[..., Desk]) -> None:
    desk = make(log_keep=None)
    desk.submit()
    desk.archive()
    assert desk.archiver.wake_at(desk.now) is None
    assert not os.path.exists(desk.state.history)


def test_all_records_of_a_job_go_with_it(desk: Desk) -> None:
    job_id = desk.submit(size=2)
    desk.put("wish", job_id, Wish(held=True))
    desk.put("attempt", f"{job_id}.1", Ended(state="failed", ended_at=1.0, run=RUN))
    with desk.store.commit() as commit:
        commit.put("limit", job_id, {"max_concurrent": 3})
    desk.put("phase", job_id, Ended(state="finished", ended_at=2.0, run=RUN.replace(attempt=2)))
    desk.end(job_id + 1)
    before = desk.view()
    desk.wait(AFTER)
    desk.archive()
    assert desk.kept() == set()
    assert not desk.store.read().of("attempt")
    after = desk.view()
    for each in (job_id, job_id + 1):
        assert after.job(each) == before.job(each)
        assert after.max_concurrent(after.job(each)) == 3
    assert before.past(job_id, 1) is not None
    assert after.past(job_id, 1) == before.past(job_id, 1)


def test_an_array_leaves_whole(desk: Desk) -> None:
    array_id = desk.submit(size=3)
    desk.end(array_id, array_id + 1)
    desk.wait(AFTER)
    desk.archive()
    assert len(desk.kept()) == 2
    desk.end(array_id + 2)
    desk.wait(AFTER)
    desk.archive()
    assert desk.kept() == set()
    assert list(states(desk)) == [array_id, array_id + 1, array_id + 2]


def test_a_job_stays_while_another_needs_it(desk: Desk) -> None:
    first = desk.submit()
    needs = Needs(dependencies=(Dependency(kind="afternotok", id=first),))
    second = desk.submit(needs=needs.replace(auto_cancel=False))
    desk.end(first)
    desk.wait(AFTER)
    desk.archive()
    assert first in desk.kept()
    desk.put("phase", second, Starting(run=RUN))
    desk.wait(AFTER)
    desk.archive()
    assert first in desk.kept()
    desk.end(second)
    desk.wait(AFTER)
    desk.archive()
    assert desk.kept() == set()


def test_what_is_touched_between_copy_and_drop_stays_and_wins(desk: Desk) -> None:
    job_id, other = desk.submit(), desk.submit()
    desk.end(job_id, other, state="failed")
    desk.wait(AFTER)
    assert desk.copy()
    desk.put("wish", job_id, Wish(requeued=1))
    desk.drop()
    assert desk.kept() == {job_id}
    assert states(desk)[other] == "failed"
    assert desk.view().phase(job_id) == Queued(attempt=2)
    desk.end(job_id)
    desk.put("wish", job_id, Wish())
    desk.wait(AFTER)
    desk.archive()
    assert states(desk) == {job_id: "finished", other: "failed"}


def test_killed_between_copy_and_drop_it_copies_again(desk: Desk) -> None:
    job_id = desk.submit()
    desk.end(job_id)
    desk.wait(AFTER)
    assert desk.copy()
    assert states(desk) == {job_id: "finished"}
    desk.open()
    desk.archive()
    assert desk.kept() == set()
    assert states(desk) == {job_id: "finished"}


def test_a_big_array_goes_in_parts_and_a_crash_amid_them_leaves_nothing_behind(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 3)
    array_id, single = desk.submit(size=8), desk.submit()
    desk.end(*range(array_id, array_id + 8), single)
    desk.wait(AFTER)
    parts = 0
    while not desk.copy():
        parts += 1
        assert desk.archiver.wake_at(desk.now) == desk.now.mono
    assert parts == 2
    desk.drop()
    assert array_id not in desk.store.read().of("spec")
    assert len(desk.kept()) > 2
    assert len(states(desk)) == 9
    desk.open()
    desk.archive()
    assert desk.kept() == set()
    assert set(states(desk).values()) == {"finished"}


def test_an_array_of_which_a_part_is_wanted_again_amid_the_copying_stays(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 3)
    array_id = desk.submit(size=8)
    ids = range(array_id, array_id + 8)
    desk.end(*ids)
    desk.wait(AFTER)
    assert not desk.copy()
    desk.put("phase", ids[0], Queued(attempt=2))
    desk.put("phase", ids[7], Queued(attempt=2))
    desk.archive()
    assert desk.kept() == set(ids)
    desk.end(ids[0], ids[7], state="failed")
    desk.wait(AFTER)
    desk.archive()
    assert desk.kept() == set()
    assert [state for state in states(desk).values() if state == "failed"] == ["failed", "failed"]


def test_an_array_that_was_brought_back_amid_its_leaving_is_whole_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `gflowctl restore` may do."""
    array_id = desk.submit(size=8)
    desk.end(*range(array_id, array_id + 8))
    with desk.store.commit() as commit:
        backup = commit.fold()
    desk.wait(AFTER)
    monkeypatch.setattr(module, "BATCH", 3)
    while not desk.copy():
        pass
    desk.drop()

    def restore() -> None:
        with desk.store.commit() as commit:
            for kind in ("spec", "phase"):
                for key, value in backup.of(kind).items():
                    commit.put(kind, key, value)

    restore()
    desk.copy()
    desk.drop()
    assert desk.kept() == set(range(array_id, array_id + 8))
    desk.archive()
    assert desk.kept() == set()
    assert len(states(desk)) == 8


def test_a_drop_that_fails_takes_no_job_apart(desk: Desk) -> None:
    job_id = desk.submit(size=2)
    desk.end(job_id, job_id + 1)
    desk.wait(AFTER)
    assert desk.copy()
    with suppress(ZeroDivisionError), desk.store.commit():
        desk.archiver.leaving(desk.fold, desk.job_queue)
        raise ZeroDivisionError
    desk.archiver.put_off(desk.now, SystemFailed("disk full"))
    assert not desk.copy()
    assert desk.archiver.wake_at(desk.now) == desk.now.mono + module.LOOK_AGAIN
    desk.wait(module.LOOK_AGAIN)
    desk.archive()
    assert desk.kept() == set()


def test_a_history_that_cannot_be_written_keeps_jobs_in_the_snapshot(desk: Desk) -> None:
    job_id = desk.submit()
    desk.end(job_id)
    desk.wait(AFTER)
    os.mkdir(desk.state.history)
    desk.archive()
    assert desk.kept() == {job_id}
    os.rmdir(desk.state.history)
    desk.wait(module.LOOK_AGAIN)
    desk.archive()
    assert desk.kept() == set()


def test_somebody_elses_lock_on_the_history_puts_it_off(desk: Desk) -> None:
    History(desk.state.history, write=True).close()
    job_id = desk.submit()
    desk.end(job_id)
    desk.wait(AFTER)
    db = sqlite3.connect(desk.state.history, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    desk.archive()
    assert desk.kept() == {job_id}
    db.close()
    desk.wait(module.LOOK_AGAIN)
    desk.archive()
    assert desk.kept() == set()


@pytest.mark.parametrize("restarted", [False, True])
def test_a_damaged_history_is_set_aside_and_a_new_one_begun(desk: Desk, restarted: bool) -> None:
    first, second = desk.submit(), desk.submit()
    desk.end(first)
    desk.wait(AFTER)
    desk.archive()
    desk.close()
    path = Path(desk.state.history)
    path.write_bytes(path.read_bytes()[:4096] + b"x" * 4096 * 20)
    desk.end(second)
    desk.wait(AFTER)
    if restarted:
        desk.open()
    desk.archive()
    desk.wait(module.LOOK_AGAIN)
    desk.archive()
    assert desk.kept() == set()
    assert list(states(desk)) == [second]
    assert len([name for name in os.listdir(desk.state.root) if ".corrupt-" in name]) == 1


def test_a_history_that_was_removed_is_begun_anew(desk: Desk) -> None:
    first, second = desk.submit(), desk.submit()
    desk.end(first)
    desk.wait(AFTER)
    desk.archive()
    for name in ("history.db", "history.db-wal", "history.db-shm"):
        Path(desk.state.path(name)).unlink(missing_ok=True)
    desk.end(second)
    desk.wait(AFTER)
    desk.archive()
    assert desk.kept() == set()
    assert list(states(desk)) == [second]


def test_a_history_of_a_newer_gflow_is_left_alone(desk: Desk) -> None:
    History(desk.state.history, write=True).close()
    with sqlite3.connect(desk.state.history) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    desk.open()
    job_id = desk.submit()
    desk.end(job_id)
    desk.wait(AFTER)
    desk.archive()
    assert desk.kept() == {job_id}
    assert not [name for name in os.listdir(desk.state.root) if ".corrupt-" in name]


def test_old_rows_go_when_the_configuration_says_so(make: Callable[..., Desk]) -> None:
    desk = make(history_keep=1000.0)
    ids = [desk.submit() for _ in range(3)]
    desk.end(*ids[:2])
    desk.wait(AFTER)
    desk.archive()
    desk.end(ids[2])
    desk.wait(950)
    desk.archive()
    assert list(states(desk)) == [ids[2]]


def test_the_past_is_known_to_those_who_wait_for_it(desk: Desk) -> None:
    assert desk.archiver.history.outcome(1, whole=True) == UNKNOWN
    assert desk.archiver.history.family(1) is None
    single, array_id = desk.submit(), desk.submit(size=2)
    desk.end(single, array_id)
    desk.end(array_id + 1, state="failed")
    at = desk.wall - 1
    desk.wait(AFTER)
    desk.archive()
    done = Outcome(begun=1, begun_at=at, ended=1, finished=1)
    for _ in range(2):
        assert desk.archiver.history.outcome(single, whole=True) == done
        assert desk.archiver.history.outcome(array_id, whole=False) == done
        assert desk.archiver.history.outcome(array_id + 1, whole=True) == done.replace(finished=0)
        assert desk.archiver.history.outcome(array_id, whole=True) == done.replace(jobs=2, begun=2, ended=2)
    assert desk.archiver.history.family(array_id) == Family(ranges=((1, 2, 1),))
    assert desk.archiver.history.family(single) is None
    assert desk.archiver.history.outcome(-1, whole=True) == UNKNOWN


def test_while_the_past_cannot_be_read_nobody_is_cancelled_for_it(desk: Desk) -> None:
    os.mkdir(desk.state.history)
    assert desk.archiver.history.outcome(1, whole=True) == Outcome()
    assert desk.archiver.history.family(1) is None
    os.rmdir(desk.state.history)
    assert desk.archiver.history.outcome(1, whole=True) == UNKNOWN


def test_a_job_that_is_copied_with_the_end_of_a_big_array_leaves_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 4)
    first, single = desk.submit(size=5), desk.submit()
    desk.end(*range(first, single + 1))
    desk.wait(2 * AFTER)
    desk.archive()
    assert not desk.kept()


class Moves(RuleBasedStateMachine):
    """Jobs come, end, are wanted again and leave; the archivist is killed anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.place = TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.batch = module.BATCH
        self.known: dict[int, str] = {}

    @initialize(batch=st.integers(1, 4))
    def begin(self, batch: int) -> None:
        module.BATCH = batch
        self.desk = Desk(State(str(Path(self.place.name) / "state")))
        self.desk.state.prepare()

    @rule(size=st.integers(0, 6))
    def submit(self, size: int) -> None:
        first = self.desk.submit(size=size)
        self.known.update(dict.fromkeys(range(first, first + max(size, 1)), "queued"))

    @rule(data=st.data(), state=st.sampled_from(["finished", "failed"]))
    def end(self, data: st.DataObject, state: str) -> None:
        live = [job_id for job_id, found in self.known.items() if found == "queued"]
        for job_id in data.draw(st.sampled_from([live, live[:1], live[-1:]])):
            self.desk.put("wish", job_id, Wish())
            self.desk.end(job_id, state=state)
            self.known[job_id] = state

    def want_again(self, data: st.DataObject) -> None:
        """Where the snapshot still has it, as gflowctl would, and the scheduler at once."""
        job_id = data.draw(st.sampled_from(sorted(self.known)))
        view = View(Context({}, None, self.desk.state.root), self.desk.store.read())
        if job_id in view.ids() and self.known[job_id] != "queued":
            self.desk.put("phase", job_id, Queued(attempt=2))
            self.known[job_id] = "queued"

    @rule(
        data=st.data(), seconds=st.sampled_from([1.0, AFTER]), again=st.booleans(), dies=st.sampled_from([0, 0, 1, 2])
    )
    def move(self, data: st.DataObject, seconds: float, again: bool, dies: int) -> None:
        """A turn of the archivist, who may be killed in it before or after the copy; others come in between."""
        self.desk.wait(seconds)
        if dies == 1:
            self.desk.open()
        due = self.desk.copy()
        self.every_job_is_found_once_and_as_it_is()
        if again and self.known:
            self.want_again(data)
        if dies == 2:
            self.desk.open()
        elif due:
            self.desk.drop()

    @rule()
    def archive(self) -> None:
        self.desk.archive()

    @invariant()
    def every_job_is_found_once_and_as_it_is(self) -> None:
        if hasattr(self, "desk"):
            view = self.desk.view()
            ids = view.ids()
            assert len(ids) == len(set(ids))
            assert {job_id: view.job(job_id).state for job_id in ids} == self.known

    def teardown(self) -> None:
        module.BATCH = self.batch
        if hasattr(self, "desk"):
            self.desk.wait(2 * AFTER)
            self.desk.archive()
            self.every_job_is_found_once_and_as_it_is()
            left = self.desk.store.read()
            assert all(job_id in left.of("spec") or View(Context({}), left).spec_of(job_id) in left.of("spec")
                       for job_id in left.of("phase"))  # fmt: skip
            self.desk.close()
        self.place.cleanup()


TestMoves = Moves.TestCase
TestMoves.settings = settings(max_examples=depth.examples(100), stateful_step_count=30, deadline=None)
