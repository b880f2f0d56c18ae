from __future__ import annotations

import json
import multiprocessing
import os
import stat
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import descriptors
from support.specs import SPEC

from gflowd.core.errors import Refused, SystemFailed, TryAgain
from gflowd.core.job import codec
from gflowd.core.job.model import (
    Ended,
    Identity,
    Job,
    Phase,
    Queued,
    Run,
    Running,
    Started,
    Starting,
    Stopping,
    Suspended,
    Wish,
)
from gflowd.paths import State
from gflowd.storage import store as store_module
from gflowd.storage.lock import Lock
from gflowd.storage.record_log import (
    FORMAT,
    HEADER,
    Fold,
    encode_line,
    next_id_in,
    next_id_of,
    sound_body,
    stdlib_dumps,
)
from gflowd.storage.store import Follower, Store

if TYPE_CHECKING:
    from collections.abc import Callable

FORK = multiprocessing.get_context("fork")
FORMAT_1 = Path(__file__).parent.parent.parent / "data" / "format-1.jsonl"


@pytest.fixture
def store(state: State) -> Store:
    """A store that has no snapshot yet, and does not ask what records mean."""
    return Store(state, lock_timeout=5.0, judged=False)


def submit(store: Store, value: Any = "job", count: int = 1) -> int:
    """Commits `count` specs; the id of the first."""
    with store.commit() as commit:
        first = commit.allocate(count)
        for job_id in range(first, first + count):
            commit.put("spec", job_id, value)
    return first


def bytes_read() -> int:
    """By this process, ever."""
    return int(Path("/proc/self/io").read_text().split()[1])


def content(store: Store) -> bytes:
    return Path(store.path).read_bytes()


# --- what is put is what is read


def test_a_store_without_a_file_is_empty_and_reading_makes_none(store: Store) -> None:
    fold = store.read()
    assert (fold.records, fold.next_id, fold.dropped) == ({}, 1, [])
    assert os.listdir(store.state.root) == []


def test_ids_begin_at_one_and_follow_each_other(store: Store) -> None:
    assert [submit(store), submit(store, count=3), submit(store)] == [1, 2, 5]
    fold = store.read()
    assert sorted(fold.of("spec")) == [1, 2, 3, 4, 5]
    assert fold.next_id == 6


def test_the_last_line_wins_and_null_removes(store: Store) -> None:
    for value in ("first", "second"):
        with store.commit() as commit:
            commit.put("wish", 1, value)
            commit.put("wish", 2, value)
    with store.commit() as commit:
        commit.put("wish", 2, None)
        commit.put("wish", 3, None)
    fold = store.read()
    assert fold.of("wish") == {1: "second"}
    assert fold.of("no such kind") == {}


def test_a_block_that_raises_writes_nothing_and_frees_the_lock(store: Store) -> None:
    submit(store)
    before = content(store)
    with pytest.raises(ZeroDivisionError), store.commit() as commit:  # noqa: PT012 -- the block is what is tested
        commit.put("spec", commit.allocate(), "never")
        commit.put("spec", commit.allocate(), 1 // 0)
    assert content(store) == before
    assert submit(store) == 2


def test_a_block_that_puts_nothing_writes_nothing(store: Store) -> None:
    submit(store)
    before = content(store)
    with store.commit() as commit:
        assert commit.next_id == 2
    assert content(store) == before


def test_a_commit_is_on_the_disk_before_its_block_ends(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    submit(store)
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: synced.append(os.fstat(fd).st_size))
    submit(store)
    assert synced == [os.path.getsize(store.path)]


def test_everything_is_private_and_the_lock_stays(store: Store) -> None:
    before = os.umask(0)
    try:
        submit(store)
    finally:
        os.umask(before)
    assert sorted(os.listdir(store.state.root)) == ["snapshot.jsonl", "snapshot.lock"]
    for name in os.listdir(store.state.root):
        assert stat.S_IMODE(os.stat(store.state.path(name)).st_mode) == 0o600


def test_a_line_is_a_checksum_and_a_list(store: Store) -> None:
    submit(store, {"command": ["true"]})
    header, line = content(store).splitlines()
    assert json.loads(header[9:])[:4] == [0, 1, "header", 0]
    assert json.loads(header[9:])[4]["format"] == 1
    assert line == b'%08x [0,2,"spec",1,{"command":["true"]}]' % zlib.crc32(line[9:])


def test_every_line_of_a_commit_but_its_last_says_more(store: Store) -> None:
    submit(store, count=3)
    lines = [json.loads(line[9:]) for line in content(store).splitlines()]
    assert [line[:2] for line in lines] == [[0, 1], [1, 4], [1, 4], [0, 4]]


ODD = ["", "a\nb\r\n", "nul \0", "line\u2028para\u2029next\x85", "\x1b[31m", "\x7f", "😀", "é", '"\\']
ODD += [' [0,99,"x",1,null]', "00000000 [0,"]


@pytest.mark.parametrize("dumps", [stdlib_dumps, orjson.dumps])
@pytest.mark.parametrize("text", ODD)
def test_odd_text_comes_back_as_it_was(state: State, dumps: Callable[[object], bytes], text: str) -> None:
    store = Store(state, dumps=dumps, judged=False)
    assert submit(store, {text: [text]}) == 1
    assert submit(store) == 2
    assert store.read().of("spec")[1] == {text: [text]}
    assert content(store).count(b"\n") == 3


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("next_id", [0, 1, 4711, 10**15 - 1, 10**15])
def test_the_next_id_of_a_line_is_read_as_it_is_searched(more: int, next_id: int) -> None:
    line = encode_line(more, next_id, ("spec", 7), {"a": ' [0,99,"x",1,null]'})
    assert next_id_of(line[9:-1]) == (next_id if next_id < 10**15 else 0)
    assert next_id_in(line[:30]) == next_id_of(line[9:-1])
    for body in (b"", b"[0,", b"[0,5", b"[0,5,6", b"[0,-1,", b'[0,1.5,"spec"', b'{"a":5,"b"', b'[0,"5","spec"'):
        assert next_id_of(body) == 0


@pytest.mark.parametrize("value", ["\ud800", float("nan"), float("inf"), object(), {"a": b"bytes"}])
def test_what_json_cannot_hold_is_an_error_and_nothing_is_written(store: Store, value: Any) -> None:
    submit(store)
    before = content(store)
    with pytest.raises((TypeError, ValueError)):
        submit(store, value)
    assert content(store) == before
    assert submit(store) == 2


TEXT = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.integers(0, 1), st.integers(1, 2**53), st.integers(0, 2**53) | TEXT)
def test_both_writers_make_the_same_sound_line(value: Any, more: int, next_id: int, key: int | str) -> None:
    line = encode_line(more, next_id, ("spec", key), value)
    assert line == encode_line(more, next_id, ("spec", key), value, orjson.dumps)
    assert line.count(b"\n") == 1
    body = sound_body(line[:-1])
    assert body is not None
    assert orjson.loads(body) == json.loads(body) == [more, next_id, "spec", key, value]


def test_a_value_far_larger_than_the_tail_that_is_read(store: Store) -> None:
    large = "x" * (20 * store_module.TAIL)
    assert submit(store, large) == 1
    assert submit(store, "after") == 2
    assert submit(store, large) == 3
    assert store.read().of("spec") == {1: large, 2: "after", 3: large}


def test_a_long_last_line_is_read_without_the_lines_before_it(state: State) -> None:
    store = Store(state, judged=False)
    submit(store, "x" * 300, count=10_000)
    submit(store, "x" * (3 * store_module.TAIL))
    before = bytes_read()
    assert submit(store) == 10_002
    assert bytes_read() - before < 20 * store_module.TAIL


@pytest.mark.parametrize("extra", range(-3, 4))
def test_a_line_that_ends_at_the_edge_of_the_tail_that_is_read(store: Store, extra: int) -> None:
    submit(store)
    frame = len(encode_line(0, 3, ("spec", 2), ""))
    assert submit(store, "x" * (store_module.TAIL - frame + extra)) == 2
    assert submit(store) == 3


# --- the cost of a submission


def test_a_submission_reads_only_the_tail_of_a_large_file(state: State) -> None:
    store = Store(state, judged=False)
    submit(store, "x" * 300, count=30_000)
    size = len(content(store))
    assert size > 10_000_000

    before = bytes_read()
    assert submit(store) == 30_001
    assert bytes_read() - before < 2 * store_module.TAIL
    assert len(content(store)) < size + 100


# --- who may take part


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o606])
def test_a_snapshot_open_to_others_is_refused_with_the_remedy(store: Store, mode: int) -> None:
    submit(store)
    os.chmod(store.path, mode)
    for use in (store.read, lambda: submit(store)):
        with pytest.raises(Refused, match=r"chmod 600 .*snapshot\.jsonl"):
            use()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_snapshot_of_another_user_is_refused(store: Store) -> None:
    submit(store)
    os.chown(store.path, 65534, 65534)
    for use in (store.read, lambda: submit(store)):
        with pytest.raises(Refused, match="belongs to user 65534"):
            use()


def test_a_snapshot_that_is_a_link_is_refused(store: Store) -> None:
    submit(store)
    os.rename(store.path, store.path + ".kept")
    os.symlink(store.path + ".kept", store.path)
    for use in (store.read, lambda: submit(store)):
        with pytest.raises(Refused, match="symbolic link"):
            use()


def test_a_busy_lock_is_try_again_and_readers_do_not_wait(store: Store) -> None:
    submit(store)
    store.lock_timeout = 0.05
    with Lock(store.state.snapshot_lock, 1.0):
        assert store.read().of("spec") == {1: "job"}
        with pytest.raises(TryAgain, match=f"by pid {os.getpid()}"):
            submit(store)
    assert submit(store) == 2


def test_a_missing_state_directory_is_the_systems_failure(tmp_path: Path) -> None:
    store = Store(State(str(tmp_path / "none")), judged=False)
    assert store.read().records == {}
    with pytest.raises(SystemFailed, match="No such file or directory"):
        submit(store)


def test_a_state_directory_below_a_file_is_the_systems_failure_for_readers_too(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = Store(State(str(tmp_path / "file" / "state")), judged=False)
    for use in (store.read, lambda: submit(store)):
        with pytest.raises(SystemFailed, match="Not a directory"):
            use()


def _submit_many(state: State, count: int) -> None:
    store = Store(state, lock_timeout=30.0, judged=False)
    for _ in range(count):
        submit(store, os.getpid())


def test_eight_writers_lose_no_commit_and_ids_are_dense(fast_state: State) -> None:
    writers = [FORK.Process(target=_submit_many, args=(fast_state, 50)) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 8
    specs = Store(fast_state, judged=False).read().of("spec")
    assert sorted(specs) == list(range(1, 401))
    assert all(list(specs.values()).count(writer.pid) == 50 for writer in writers)


def _commit_fifties(state: State, rounds: int) -> None:
    store = Store(state, lock_timeout=30.0, judged=False)
    for number in range(rounds):
        submit(store, "x" * (number * 40), count=50)
        if number % 10 == 9:
            with store.commit() as commit:
                commit.rewrite(commit.fold())


def test_readers_never_see_half_a_commit_while_others_write_and_rewrite(fast_state: State) -> None:
    store = Store(fast_state, judged=False)
    submit(store, count=50)
    follower = Follower(store)
    writers = [FORK.Process(target=_commit_fifties, args=(fast_state, 30)) for _ in range(2)]
    for writer in writers:
        writer.start()
    seen = 0
    while any(writer.is_alive() for writer in writers) or seen == 0:
        follower.catch_up()
        for fold in (follower.fold, store.read()):
            assert len(fold.of("spec")) % 50 == 0
            assert len(fold.of("spec")) >= seen
            assert not fold.dropped
        seen = len(follower.fold.of("spec"))
    for writer in writers:
        writer.join()
    follower.catch_up()
    assert len(follower.fold.of("spec")) == 61 * 50
    assert follower.fold.records == store.read().records
    follower.close()


# --- following


def test_a_follower_reports_what_each_step_touched(store: Store) -> None:
    follower = Follower(store)
    assert follower.catch_up() == []
    submit(store, count=2)
    assert follower.catch_up() is None
    assert follower.catch_up() == []
    with store.commit() as commit:
        commit.put("wish", 1, {"held": True})
        commit.put("spec", 2, None)
    assert follower.catch_up() == [("wish", 1), ("spec", 2)]
    assert follower.fold.of("spec") == {1: "job"}
    assert follower.fold.next_id == 3
    follower.close()


def test_a_follower_reads_only_what_was_added(store: Store) -> None:
    submit(store, "x" * 1_000_000)
    follower = Follower(store)
    follower.catch_up()
    submit(store)

    before = bytes_read()
    assert follower.catch_up() == [("spec", 2)]
    assert bytes_read() - before < 10_000
    follower.close()


def test_a_follower_waits_for_the_end_of_a_commit_at_every_length(store: Store) -> None:
    submit(store)
    before = content(store)
    submit(store, "é\n", count=2)
    added = content(store)[len(before) :]
    Path(store.path).write_bytes(before)
    follower = Follower(store)
    follower.catch_up()
    for length in range(len(added)):
        with open(store.path, "r+b") as file:
            file.seek(len(before))
            file.write(added[:length])
        assert follower.catch_up() == []
        assert follower.fold.of("spec") == {1: "job"}
        assert store.read().of("spec") == {1: "job"}
    Path(store.path).write_bytes(before + added)
    assert follower.catch_up() == [("spec", 2), ("spec", 3)]
    follower.close()


def test_a_follower_notices_a_rewritten_file(store: Store) -> None:
    submit(store, count=3)
    follower = Follower(store)
    follower.catch_up()
    with store.commit() as commit:
        commit.put("spec", 2, None)
    with store.commit() as commit:
        commit.rewrite(commit.fold())
    submit(store, "after")
    assert follower.catch_up() is None
    assert follower.fold.of("spec") == {1: "job", 3: "job", 4: "after"}
    assert follower.catch_up() == []
    follower.close()


def test_the_rewriter_goes_on_from_the_end_of_its_own_file(store: Store) -> None:
    submit(store, count=3)
    follower = Follower(store)
    with store.commit() as commit:
        follower.catch_up()
        follower.rebase(commit.rewrite(follower.fold))
        commit.put("wish", 1, {"held": True})
    assert follower.catch_up() == [("wish", 1)]
    submit(store)
    assert follower.catch_up() == [("spec", 4)]
    assert follower.fold.records == store.read().records
    follower.close()


def test_a_follower_notices_a_commit_that_was_taken_back(store: Store) -> None:
    """A writer whose fdatasync(2) fails truncates what readers may have seen; another may then write as many bytes."""
    submit(store, "kept")
    size = os.path.getsize(store.path)
    submit(store, "taken back")
    follower = Follower(store)
    follower.catch_up()
    assert follower.fold.of("spec")[2] == "taken back"
    os.truncate(store.path, size)
    submit(store, "and anew, longer")
    assert follower.catch_up() is None
    assert follower.fold.of("spec") == {1: "kept", 2: "and anew, longer"}
    os.truncate(store.path, size)
    assert follower.catch_up() is None
    assert follower.fold.of("spec") == {1: "kept"}
    follower.close()


def test_a_follower_keeps_what_it_has_when_the_file_is_gone_or_emptied(store: Store) -> None:
    submit(store, count=2)
    follower = Follower(store)
    follower.catch_up()
    kept = content(store)
    os.unlink(store.path)
    for _ in range(2):
        with pytest.raises(SystemFailed, match="gone"):
            follower.catch_up()
    Path(store.path).touch(0o600)
    for _ in range(2):
        with pytest.raises(SystemFailed, match="gflowctl restore"):
            follower.catch_up()
    assert sorted(follower.fold.of("spec")) == [1, 2]
    Path(store.path).write_bytes(kept)
    assert not follower.catch_up()
    assert sorted(follower.fold.of("spec")) == [1, 2]
    assert follower.catch_up() == []
    follower.close()


def test_no_descriptor_is_left_by_reading_writing_rewriting_or_failing(store: Store) -> None:
    def all_of_it() -> None:
        submit(store)
        store.read()
        with store.commit() as commit:
            commit.rewrite(commit.fold())
        kept = content(store)
        Path(store.path).write_bytes(b"garbage\n")
        for use in (store.read, lambda: submit(store)):
            with pytest.raises(SystemFailed):
                use()
        Path(store.path).write_bytes(kept)

    all_of_it()
    before = descriptors.ours()
    all_of_it()
    assert descriptors.ours() == before


# --- rewriting


def test_a_rewrite_keeps_what_is_live_and_drops_the_rest(store: Store) -> None:
    submit(store, count=5)
    for number in range(10):
        with store.commit() as commit:
            commit.put("phase", 1, {"is": "queued", "attempt": number})
            commit.put("setting", "drain", {"reason": "é\n"})
    with store.commit() as commit:
        commit.put("spec", 5, None)
    before = store.read()
    assert before.lines == 1 + 5 + 20 + 1
    assert before.live() == 1 + 4 + 2
    with store.commit() as commit:
        fold = commit.fold()
        size = commit.rewrite(fold)
    assert size == os.path.getsize(store.path)
    after = store.read()
    assert after.records == before.records
    assert (after.lines, after.live()) == (before.live(), before.live())
    assert after.next_id == 6
    assert content(store).startswith(b'%08x [0,6,"header"' % zlib.crc32(content(store).split(b"\n")[0][9:]))
    assert submit(store) == 6


def test_a_rewritten_snapshot_of_no_jobs_remembers_its_next_id(store: Store) -> None:
    submit(store, count=3)
    with store.commit() as commit:
        for job_id in (1, 2, 3):
            commit.put("spec", job_id, None)
    with store.commit() as commit:
        commit.rewrite(commit.fold())
    assert content(store).count(b"\n") == 1
    assert submit(store) == 4


def test_a_rewrite_clears_away_what_killed_writers_left(store: Store) -> None:
    submit(store)
    for name in ("snapshot.jsonl.new.1", "snapshot.jsonl.corrupt-20260101T000000.new.77"):
        Path(store.state.path(name)).write_bytes(b"half")
    keep = ["snapshot.jsonl.corrupt-20260101T000000", "observed.json.new.1"]
    for name in keep:
        Path(store.state.path(name)).write_bytes(b"keep")
    with store.commit() as commit:
        commit.rewrite(commit.fold())
    assert sorted(os.listdir(store.state.root)) == sorted(["snapshot.jsonl", "snapshot.lock", *keep])


def test_no_empty_snapshot_is_begun_beside_the_directories_of_jobs(store: Store) -> None:
    for name in ("7", "12", "x", "²", "007"):
        os.makedirs(store.state.path("jobs", name))
    assert store.first_free_id() == 13
    with pytest.raises(SystemFailed, match="is gone"):
        submit(store)
    assert not os.path.exists(store.path)


def test_a_rewrite_keeps_the_machine_that_the_header_names(store: Store) -> None:
    submit(store)
    with store.commit() as commit:
        commit.put("header", 0, {"format": 1, "machine": "another"})
    with store.commit() as commit:
        commit.rewrite(commit.fold())
    assert store.read().of("header") == {0: {"format": 1, "machine": "another"}}


def set_quota(store: Store, value: Any) -> bool:
    """Whether there may have been one before."""
    with store.commit() as commit:
        commit.put("quota", "default-user", value)
        return commit.may_have("quota")


def may_have_quota(store: Store) -> bool:
    with store.commit() as commit:
        return commit.may_have("quota")


def test_the_header_tells_of_quotas_from_the_first_to_the_rewrite_after_the_last(store: Store) -> None:
    submit(store)
    follower = Follower(store)
    follower.catch_up()
    assert not set_quota(store, {"max_queued_jobs": 3})
    assert may_have_quota(store)
    assert follower.catch_up() is None
    assert follower.fold.of("quota") == {"default-user": {"max_queued_jobs": 3}}
    size = len(content(store))
    assert set_quota(store, {"max_queued_jobs": 4})
    assert len(content(store)) > size, "only the first needs the file to be rewritten"
    assert submit(store) == 2
    set_quota(store, None)
    assert may_have_quota(store)
    with store.commit() as commit:
        commit.rewrite(commit.fold())
    assert not may_have_quota(store)
    assert set(store.read().of("header")[0]) == {"format", "machine"}
    follower.close()


def test_the_first_quota_of_a_damaged_snapshot_keeps_the_damaged_file(store: Store) -> None:
    for _ in range(3):
        submit(store)
    damaged = content(store).replace(b'[0,3,"spec"', b'[0,3,"spek"')
    Path(store.path).write_bytes(damaged)
    set_quota(store, {"max_queued_jobs": 3})
    assert [Path(place).read_bytes() for place in Path(store.state.root).glob("*.corrupt-*")] == [damaged]
    assert sorted(store.read().of("spec")) == [1, 3]
    assert may_have_quota(store)
    assert submit(store) == 4


# --- the format


PLAIN = SPEC.replace(
    command=("python", "train.py"),
    name="train",
    user="ada",
    cwd="/home/ada",
    env="0123456789abcdef0123456789abcdef",
    submitted_at=1763827200.25,
)
RICH = PLAIN.replace(
    command=("run", "", "Grüße 😀", "a\nb"),
    name="Grüße",
    umask=0o077,
    script="fedcba9876543210fedcba9876543210",
    project="vision",
    comment="two\nlines\u2028",
    priority=200,
    gpus=2,
    cpus=0,
    memory_mb=65536,
    time_limit=3600.0,
    grace=2.5,
    begin_at=1763830800.0,
    output="%x-%j.out",
    error="%j.err",
    input="in.txt",
    append=True,
    executor="process",
)
RUN = Run(executor="tmux", launched_at=1763827201.5)
STARTED = Started(
    at=1763827201.75, mono=1234.5, identity=Identity("0f8fad5b-d9cb-469f-a165-70867728950e", 4711, 123456789)
)
AGAIN = Run(executor="process", launched_at=1763827300.5, attempt=2, gpu_ids=(0, 3))
STOPPING = Stopping(
    run=AGAIN,
    started=STARTED,
    why="TimeLimit",
    since_at=1763830802.125,
    since_mono=4835.0,
    since_boot="0f8fad5b-d9cb-469f-a165-70867728950e",
)
HELD = Wish(held=True, begin_at=1763830000.0)
CANCELLED = Wish(cancelled_by="ada", cancelled_at=1763827300.0)
JOBS = [
    Job(1, PLAIN, Wish(), Queued()),
    Job(2, RICH, HELD, Queued(attempt=2)),
    Job(3, PLAIN, Wish(), Starting(run=RUN)),
    Job(4, RICH, Wish(), Running(run=AGAIN, started=STARTED)),
    Job(5, RICH, CANCELLED, STOPPING),
    Job(6, PLAIN, Wish(), STOPPING.replace(started=None, why="Strays")),
    Job(7, PLAIN, Wish(), Ended(state="finished", ended_at=1763827400.0, run=RUN, started_at=STARTED.at, exit_code=0)),
    Job(
        8,
        PLAIN,
        Wish(),
        Ended(
            state="failed",
            ended_at=1763827400.0,
            reason="Signaled:SIGKILL",
            run=AGAIN,
            started_at=1763827201.75,
            signal=9,
        ),
    ),
    Job(9, PLAIN, CANCELLED, Ended(state="cancelled", ended_at=1763827300.0, reason="CancelledByUser")),
]


def jobs(fold: Fold) -> list[Job]:
    wishes, phases = fold.of("wish"), fold.of("phase")
    return [codec.job(job_id, spec, wishes.get(job_id), phases.get(job_id)) for job_id, spec in fold.of("spec").items()]


def put_jobs(store: Store) -> None:
    """How tests/data/format-1.jsonl was made, once."""
    with store.commit() as commit:
        commit.put("scheduler", 0, {"generation": 3, "pid": 4242})
    for job in JOBS:
        with store.commit() as commit:
            assert commit.allocate() == job.id
            commit.put("spec", job.id, codec.encode(job.spec))
            if job.wish != Wish():
                commit.put("wish", job.id, codec.encode(job.wish))
            if job.phase != Queued():
                commit.put("phase", job.id, codec.encode_phase(job.phase))
    gone = submit(store, codec.encode(PLAIN))
    with store.commit() as commit:
        commit.put("spec", gone, None)


def test_the_snapshot_of_format_1_loads_for_ever(store: Store) -> None:
    store.state.prepare()
    Path(store.path).write_bytes(FORMAT_1.read_bytes())
    os.chmod(store.path, 0o600)
    fold = store.read()
    assert fold.dropped == []
    assert fold.of("header")[0]["format"] == 1
    assert fold.of("scheduler") == {0: {"generation": 3, "pid": 4242}}
    assert jobs(fold) == JOBS
    assert submit(store, codec.encode(PLAIN)) == 11


def test_what_is_written_today_reads_the_same(store: Store) -> None:
    put_jobs(store)
    assert jobs(store.read()) == JOBS


def test_the_kept_snapshot_has_every_phase_that_there_was_and_every_field() -> None:
    phases = [json.loads(line[9:])[4] for line in FORMAT_1.read_bytes().splitlines() if b'"phase"' in line]
    assert {phase["is"] for phase in phases} == set(codec.PHASES) - {"suspended"}
    assert {type(job.phase) for job in JOBS} == set(Phase.__args__) - {Suspended}


def newer(next_id: int = 5) -> bytes:
    """What a gflow of the future may write: only its first line must be as ours."""
    header = encode_line(0, next_id, ("header", 0), {"format": 2, "machine": "m"})
    body = b'[0,6,"spec",5,{"x":1},"a sixth element"]'
    return header + b"%08x %b\n" % (zlib.crc32(body), body) + b"and lines of another shape\n"


def test_a_newer_format_is_refused_and_not_touched(store: Store) -> None:
    store.state.prepare()
    Path(store.path).write_bytes(newer())
    os.chmod(store.path, 0o600)
    for use in (store.read, lambda: submit(store), Follower(store).catch_up):
        with pytest.raises(Refused, match=r"newer gflow \(format 2, ours is 1\)"):
            use()
    assert content(store) == newer()
    assert sorted(os.listdir(store.state.root)) == ["snapshot.jsonl", "snapshot.lock"]


def older(*lines: bytes) -> bytes:
    return encode_line(0, 3, (HEADER, 0), {"format": 0, "machine": "m"}) + b"".join(lines)


@pytest.mark.parametrize("tail", [b"", encode_line(1, 4, ("spec", 3), "torn")])
def test_an_older_format_is_read_and_rewritten_in_ours_with_a_copy_before_anything_is_added(
    store: Store, tail: bytes
) -> None:
    store.state.prepare()
    data = older(encode_line(0, 3, ("spec", 1), "one"), encode_line(0, 3, ("spec", 2), "two")) + tail
    Path(store.path).write_bytes(data)
    os.chmod(store.path, 0o600)
    assert store.read().of("spec") == {1: "one", 2: "two"}
    assert content(store) == data
    with store.commit():
        pass
    assert store.read().of(HEADER)[0] == {"format": FORMAT, "machine": "m"}
    new = submit(store)
    assert new == (4 if tail else 3)
    assert store.read().of("spec").keys() == {1, 2, new}
    assert Path(f"{store.path}.format-0").read_bytes() == data


def test_a_damaged_file_of_an_older_format_is_kept_whole(store: Store) -> None:
    store.state.prepare()
    data = older(b"scribble\n", encode_line(0, 3, ("spec", 2), "two"))
    Path(store.path).write_bytes(data)
    os.chmod(store.path, 0o600)
    assert submit(store) == 3
    assert store.read().of("spec").keys() == {2, 3}
    assert store.read().dropped == []
    assert "damaged" in store.notes[0]
    assert Path(f"{store.path}.format-0").read_bytes() == data


# --- the fold by itself


def test_feeding_nothing_takes_nothing() -> None:
    fold = Fold(judged=False)
    assert fold.feed(b"") == (0, [])
    assert fold.feed(b"no newline") == (0, [])
    assert (fold.records, fold.lines, fold.next_id) == ({}, 0, 1)


KEYS = st.tuples(st.sampled_from(["spec", "wish", "phase"]), st.integers(1, 4))
COMMITS = st.lists(st.lists(st.tuples(KEYS, st.none() | st.integers(0, 9)), min_size=1, max_size=4), max_size=6)


def lines_of(commits: list[list[tuple[tuple[str, int], int | None]]]) -> bytes:
    return b"".join(
        encode_line(int(place < len(commit) - 1), number + 2, key, value)
        for number, commit in enumerate(commits)
        for place, (key, value) in enumerate(commit)
    )


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(COMMITS, st.data())
def test_folding_in_any_pieces_is_folding_at_once(
    commits: list[list[tuple[tuple[str, int], int | None]]], data: st.DataObject
) -> None:
    whole = lines_of(commits)
    once = Fold(judged=False)
    assert once.feed(whole)[0] == len(whole)
    plain: dict[tuple[str, int], int] = {}
    for commit in commits:
        for key, value in commit:
            if value is None:
                plain.pop(key, None)
            else:
                plain[key] = value
    assert {(kind, key): value for kind, of in once.records.items() for key, value in of.items()} == plain
    pieces, offset = Fold(judged=False), 0
    for end in [*sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5))), len(whole)]:
        offset += pieces.feed(whole[offset:end], offset)[0]
    assert (pieces.records, pieces.lines, pieces.next_id) == (once.records, once.lines, once.next_id)


def test_a_snapshot_of_which_a_daemon_has_told_is_not_begun_anew(store: Store) -> None:
    """Nor where its jobs have left no other trace, being held."""
    submit(store)
    os.unlink(store.path)
    observed = Path(store.state.observed)
    observed.touch(0o600)
    observed.write_text('{"next_id": 2}')
    with pytest.raises(SystemFailed, match="a running gflowd restores it"):
        submit(store)
    assert not os.path.exists(store.path)
    for nothing in ('{"next_id": 1}', '{"next_id": "x"}', "{}", "[]", "", "\0"):
        observed.write_text(nothing)
        assert submit(store) == 1
        os.unlink(store.path)


def test_a_snapshot_that_is_gone_is_written_anew_from_memory(store: Store) -> None:
    with store.commit() as commit:
        for _ in range(3):
            commit.put("spec", commit.allocate(), {"name": "kept"})
    fold = store.read()
    os.unlink(store.path)
    with store.commit(instead=fold) as commit:
        assert commit.next_id == 4
        commit.put("phase", 3, {"is": "queued"})
    assert store.read().of("spec") == fold.of("spec")
    assert store.read().next_id == 4


def test_a_snapshot_of_nothing_but_garbage_is_written_anew_from_memory_and_kept_aside(store: Store) -> None:
    with store.commit() as commit:
        commit.put("spec", commit.allocate(), {"name": "kept"})
    fold = store.read()
    Path(store.path).write_bytes(b"\0" * 5000)
    with store.commit(instead=fold) as commit:
        assert commit.next_id > 1
    assert store.read().of("spec") == {1: {"name": "kept"}}
    assert list(Path(store.path).parent.glob("*.corrupt-*"))


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"[0,5", b"{}", b"7", b"[0,5,7,1,{}]", b'[0,5,["spec"],1,{}]', b'[0,"5","spec",1,{}]',
     b'[0,5,"spec",{},{}]', b'[0,5,"spec",1]', b"[" * 5000, b"[0,%s]" % (b"9" * 5000)],
    ids=lambda body: body[:24].decode(),
)  # fmt: skip
@pytest.mark.parametrize("place", ["middle", "end"])
def test_a_line_with_a_right_checksum_that_is_no_record_costs_only_itself(
    store: Store, body: bytes, place: str
) -> None:
    with store.commit() as commit:
        commit.put("spec", commit.allocate(), {"x": 1})
    path = Path(store.path)
    line = b"%08x %b\n" % (zlib.crc32(body), body)
    with path.open("ab") as file:
        file.write(line)
    if place == "middle":
        with path.open("ab") as file:
            file.write(encode_line(0, 2, ("wish", 1), {"y": 2}))
    assert store.read().of("spec") == {1: {"x": 1}}
    with store.commit() as commit:
        commit.put("spec", second := commit.allocate(), {"x": 2})
    assert second > 1
    assert store.read().of("spec") == {1: {"x": 1}, second: {"x": 2}}


def test_a_header_with_a_right_checksum_that_is_no_record_is_unreadable(store: Store) -> None:
    for body in (b"7", b"{}", b"[", b'[0,1,"header",0]'):
        Path(store.path).touch(mode=0o600)
        Path(store.path).write_bytes(b"%08x %b\n" % (zlib.crc32(body), body))
        with pytest.raises(SystemFailed):
            store.read()


def test_groups_of_one_commit_are_changes_by_themselves(store: Store) -> None:
    follower = Follower(store)
    with store.commit() as commit:
        follower.catch_up()
        first, second = (commit.put_group([("a", key, {}), ("b", key, {})]) for key in (1, 2))
        assert follower.take_own(first) == [("a", 1), ("b", 1)]
        with pytest.raises(ValueError, match="surrogates"):
            commit.put_group([("c", 1, {}), ("c", 2, "\ud800")])
        follower.take_own(second)
        commit.write_groups()
        follower.confirm()
    whole = Path(store.path).read_bytes()
    assert whole.endswith(first + second)
    assert (follower.catch_up(), follower.offset) == ([], len(whole))
    Path(store.path).write_bytes(whole[: -len(second) // 2])
    assert store.read().records == {"header": store.read().of("header"), "a": {1: {}}, "b": {1: {}}}
    follower.close()


def test_what_was_taken_in_and_not_written_is_forgotten(store: Store) -> None:
    with store.commit() as commit:
        commit.put("a", 1, {})
    follower = Follower(store)
    follower.catch_up()
    follower.take_own(encode_line(0, 1, ("a", 2), {}))
    assert follower.fold.of("a") == {1: {}, 2: {}}
    follower.forget()
    assert follower.catch_up() is None
    assert follower.fold.of("a") == {1: {}}
    follower.close()


def test_the_first_quota_among_groups_is_shown_by_the_header(store: Store) -> None:
    with store.commit() as commit:
        commit.put_group([("quota", "user:ada", {})])
        commit.put_group([("a", 1, {})])
    with store.commit() as commit:
        assert commit.may_have("quota")
        assert (commit.fold().of("quota"), commit.fold().of("a")) == ({"user:ada": {}}, {1: {}})


def test_how_far_a_file_was_read_is_of_that_file_alone(store: Store) -> None:
    reader, later = Follower(store), Follower(store)
    with store.commit() as commit:
        commit.put("a", 1, {})
    reader.catch_up()
    seen = reader.seen
    with store.commit() as commit:
        commit.put("b", 1, {})
    later.catch_up()
    assert later.has_seen(seen)
    assert later.has_seen(later.seen)
    assert not reader.has_seen(later.seen)
    assert not later.has_seen((seen[0] - 1, *seen[1:]))
    assert not later.has_seen((later.offset, 0, "00000000"))
    with store.commit() as commit:
        commit.put("b", 2, {})
    later.catch_up()
    later.fold.of("a")[1] = {"changed": True}
    with store.commit() as commit:
        commit.rewrite(later.fold)
        later.rebase(os.path.getsize(store.path))
    assert not later.has_seen(seen)
    reader.close()
    later.close()
