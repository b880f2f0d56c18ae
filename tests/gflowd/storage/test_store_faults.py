"""What may happen to the snapshot: damage at every byte, full disks, kills and errors at every system call."""

from __future__ import annotations

import multiprocessing
import os
import resource
import select
import subprocess
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from support import depth

from gflowd.core.errors import GflowError, Refused, SystemFailed
from gflowd.paths import State
from gflowd.storage.record_log import Fold, encode_line
from gflowd.storage.store import Follower, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FORK = multiprocessing.get_context("fork")
STEP = depth.number(1, 3)  # every so many-th byte or system call; where they begin differs from test to test
Records = dict[tuple[str, Any], Any]


def records(fold: Fold) -> Records:
    """Every record but the header."""
    return {(kind, key): value for kind, of in fold.records.items() if kind != "header" for key, value in of.items()}


@pytest.fixture
def store(state: State) -> Store:
    """A store that has no snapshot yet, and does not ask what records mean."""
    return Store(state, lock_timeout=5.0, judged=False)


def submit(store: Store, value: Any = "job", count: int = 1) -> int:
    with store.commit() as commit:
        first = commit.allocate(count)
        for job_id in range(first, first + count):
            commit.put("spec", job_id, value)
    return first


def content(store: Store) -> bytes:
    return Path(store.path).read_bytes()


def kept_aside(store: Store) -> list[bytes]:
    root = Path(store.state.root)
    return [path.read_bytes() for path in root.iterdir() if ".corrupt-" in path.name and ".new." not in path.name]


class Sample:
    """A snapshot of a few commits: its bytes, and what is to be read of any choice of its lines."""

    def __init__(self, state: State) -> None:
        state.prepare()
        store = Store(state, judged=False)
        submit(store, {"command": ["true"]})
        with store.commit() as commit:
            job_id = commit.allocate()
            commit.put("spec", job_id, {"command": ["é"]})
            commit.put("wish", job_id, {"held": True})
        with store.commit() as commit:
            commit.put("phase", 1, {"is": "queued", "attempt": 2})
        self.greatest_id = submit(store, "array", count=3) + 2
        self.data = content(store)
        self.lines = self.data.splitlines(keepends=True)
        self.store = store

    def of_lines(self, numbers: list[int]) -> Records:
        fold = Fold(judged=False)
        fold.take([self.lines[number][9:-1] for number in numbers])
        return records(fold)

    def whole_commits(self, length: int) -> Records:
        """What the first `length` bytes say, counted without the code under test."""
        numbers: list[int] = []
        position = taken = 0
        for number, line in enumerate(self.lines):
            position += len(line)
            if position <= length:
                numbers.append(number)
                taken = len(numbers) if line[9:].startswith(b"[0,") else taken
        return self.of_lines(numbers[:taken])

    def becomes(self, data: bytes) -> None:
        """Makes the snapshot hold `data`, with nothing set aside."""
        for path in Path(self.store.state.root).iterdir():
            if path.name != "snapshot.lock":
                path.unlink()
        Path(self.store.path).write_bytes(data)
        os.chmod(self.store.path, 0o600)
        self.store.notes.clear()

    def start_daemon(self) -> None:
        """What the scheduler does first: folds, mends what was dropped, commits its generation."""
        with self.store.commit() as commit:
            fold = commit.fold()
            if fold.dropped:
                commit.repair(fold)
            commit.put("scheduler", 0, {"generation": 1})


@pytest.fixture
def sample(fast_state: State) -> Sample:
    return Sample(fast_state)


# --- torn, truncated, flipped


def test_cut_at_every_length_it_is_the_old_or_the_new_state(sample: Sample) -> None:
    header = len(sample.lines[0])
    for length in range(header, len(sample.data)):
        sample.becomes(sample.data[:length])
        expected = sample.whole_commits(length)
        assert records(sample.store.read()) == expected, length
        claimed = [sample.store.read().next_id - 1]
        whole = sample.data[:length].splitlines(keepends=True)
        claimed += [orjson.loads(line[9:])[1] - 1 for line in whole if line.endswith(b"\n")]
        new = submit(sample.store, "new")
        assert new > max(claimed), length
        assert records(sample.store.read()) == {**expected, ("spec", new): "new"}, length
        assert sample.store.read().dropped == [], length
        assert kept_aside(sample.store) == [], length
    assert new <= sample.greatest_id + 1


def test_cut_within_the_header_nothing_is_readable(sample: Sample) -> None:
    for length in range(len(sample.lines[0])):
        sample.becomes(sample.data[:length])
        for use in (sample.store.read, lambda: submit(sample.store)):
            with pytest.raises(SystemFailed, match="gflowctl restore") as failure:
                use()
            assert failure.value.status == 3
        assert content(sample.store) == sample.data[:length]


def damaged_lines(sample: Sample, offset: int) -> set[int]:
    """The lines that a changed byte at `offset` makes unreadable; a lost newline joins two."""
    end = 0
    for number, line in enumerate(sample.lines):
        end += len(line)
        if offset < end:
            return {number, number + 1} if offset == end - 1 else {number}
    raise AssertionError


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF, None])
def test_one_damaged_byte_loses_its_line_and_nothing_else(sample: Sample, mask: int | None) -> None:
    """`mask` None makes the byte a newline: a line is split."""
    for offset in range((mask or 1) % STEP, len(sample.data), STEP):
        data = bytearray(sample.data)
        data[offset] = 0x0A if mask is None else data[offset] ^ mask
        if data == sample.data:
            continue
        sample.becomes(bytes(data))
        lost = damaged_lines(sample, offset)
        expected = sample.of_lines([number for number in range(len(sample.lines)) if number not in lost])
        sample.start_daemon()
        got = records(sample.store.read())
        assert got.pop(("scheduler", 0)) == {"generation": 1}
        assert got == expected, offset
        assert kept_aside(sample.store) == [bytes(data)], offset
        assert len(sample.store.notes) == 1, offset
        assert "corrupt-" in sample.store.notes[0]
        assert sample.store.read().dropped == [], offset
        assert submit(sample.store) > sample.greatest_id, offset


@pytest.mark.parametrize("mask", [0x01, 0xFF])
def test_a_submission_to_a_damaged_file_loses_nothing_and_reuses_no_id(sample: Sample, mask: int) -> None:
    """The same without a daemon: damage in the middle waits for it, damage at either end is mended at once."""
    for offset in range(mask % STEP, len(sample.data), STEP):
        data = bytearray(sample.data)
        data[offset] ^= mask
        sample.becomes(bytes(data))
        lost = damaged_lines(sample, offset)
        new = submit(sample.store, "new")
        assert new > sample.greatest_id, offset
        expected = sample.of_lines([number for number in range(len(sample.lines)) if number not in lost])
        assert records(sample.store.read()) == {**expected, ("spec", new): "new"}, offset
        sample.start_daemon()
        assert kept_aside(sample.store)[0][: len(data)] == data, offset
        assert len(kept_aside(sample.store)) == 1, offset


def test_damage_at_both_ends_and_in_the_middle_is_mended_once(sample: Sample) -> None:
    lines = list(sample.lines)
    for number in (0, 3, len(lines) - 1):
        lines[number] = b"X" + lines[number][1:]
    sample.becomes(b"".join(lines))
    assert submit(sample.store, "new") > sample.greatest_id
    readable = [number for number in range(len(lines)) if number not in (0, 3, len(lines) - 1)]
    got = records(sample.store.read())
    assert {**sample.of_lines(readable), **got} == got
    assert kept_aside(sample.store) == [b"".join(lines)]
    assert sample.store.read().dropped == []


@pytest.mark.parametrize("garbage", [b"\0" * 500, b"\xff" * 500, b"hello\n" * 50, b"\n\n\n", b"hello", os.urandom(300)])
def test_garbage_after_the_last_commit_is_set_aside_and_all_else_kept(sample: Sample, garbage: bytes) -> None:
    sample.becomes(sample.data + garbage)
    expected = sample.of_lines(list(range(len(sample.lines))))
    assert records(sample.store.read()) == expected
    new = submit(sample.store, "new")
    assert new > sample.greatest_id
    assert records(sample.store.read()) == {**expected, ("spec", new): "new"}
    assert kept_aside(sample.store) == [sample.data + garbage]


def test_a_large_lost_end_jumps_over_all_the_ids_that_it_may_have_given(sample: Sample) -> None:
    kept = len(sample.data)
    last = submit(sample.store, "", count=500) + 499
    data = content(sample.store)
    sample.becomes(data[:kept] + b"\0" * (len(data) - kept))
    assert submit(sample.store) > last


def test_two_lines_joined_at_the_end_give_no_id_again(sample: Sample) -> None:
    submit(sample.store)
    last = submit(sample.store)
    data = content(sample.store)
    cut = data.rindex(b"\n", 0, -1)
    sample.becomes(data[:cut] + b"?" + data[cut + 1 :])
    assert submit(sample.store) > last


@pytest.mark.parametrize("remove", [True, False])
def test_a_header_removed_by_hand_is_made_again(sample: Sample, remove: bool) -> None:
    """`remove`: the line is gone; else it has become another sound record."""
    first = b"" if remove else encode_line(0, 1, ("setting", "x"), 1)
    sample.becomes(first + b"".join(sample.lines[1:]))
    expected = records(sample.store.read())
    assert sample.of_lines(list(range(1, len(sample.lines)))).items() <= expected.items()
    assert sample.store.read().dropped == ["the header"]
    new = submit(sample.store, "new")
    assert records(sample.store.read()) == {**expected, ("spec", new): "new"}
    assert sample.store.read().of("header")[0]["format"] == 1
    assert content(sample.store).split(b"\n")[0].count(b'"header"') == 1


@pytest.mark.parametrize("value", [None, 7, {}, {"format": "1"}, {"format": None}])
def test_a_header_that_says_no_format_is_the_systems_failure(sample: Sample, value: object) -> None:
    body = orjson.dumps([0, 1, "header", 0, value])
    data = b"%08x %b\n" % (zlib.crc32(body), body) + b"".join(sample.lines[1:])
    sample.becomes(data)
    for use in (sample.store.read, lambda: submit(sample.store)):
        with pytest.raises(SystemFailed, match="gflowctl restore"):
            use()
    assert content(sample.store) == data


@pytest.mark.parametrize("data", [b"", b"\0" * 5000, b"\n", b"garbage", b"garbage\n" * 1000, os.urandom(5000)])
def test_when_nothing_is_readable_gflow_says_so_and_touches_nothing(sample: Sample, data: bytes) -> None:
    sample.becomes(data)
    for use in (sample.store.read, lambda: submit(sample.store), sample.start_daemon):
        with pytest.raises(SystemFailed, match="nothing readable; gflowctl restore") as failure:
            use()
        assert failure.value.status == 3
    assert content(sample.store) == data
    assert kept_aside(sample.store) == []


def test_damage_while_a_follower_looks_on_is_mended_by_the_next_writer(sample: Sample) -> None:
    follower = Follower(sample.store)
    follower.catch_up()
    before = records(follower.fold)
    with open(sample.store.path, "ab") as file:
        file.write(b"scribble\n")
    assert follower.catch_up() == []
    new = submit(sample.store, "new")
    assert follower.catch_up() is None
    assert records(follower.fold) == {**before, ("spec", new): "new"}
    assert follower.fold.dropped == []
    follower.close()


def test_a_torn_end_that_a_writer_replaces_meanwhile_is_read_again(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader may get the front of a torn end and the back of the commit that took its place."""
    front = encode_line(1, 9, ("spec", 8), "never committed")
    torn = b"0123"
    sample.becomes(sample.data + front + torn)
    pread = os.pread
    late: list[int] = []

    def slow(fd: int, count: int, offset: int) -> bytes:
        data = pread(fd, count, offset)
        if not late and len(data) > len(sample.data):
            monkeypatch.setattr(os, "pread", pread)
            late.append(submit(sample.store, "y" * 400))
            return data[: -len(torn)] + content(sample.store)[offset + len(data) - len(torn) :]
        return data

    monkeypatch.setattr(os, "pread", slow)
    fold = sample.store.read()
    assert late
    assert "never committed" not in records(fold).values()
    assert records(fold)[("spec", late[0])] == "y" * 400
    assert fold.dropped == []


def test_two_damages_within_one_second_are_both_kept(sample: Sample) -> None:
    seen = []
    for number in range(3):
        sample.store.notes.clear()
        with open(sample.store.path, "ab") as file:
            file.write(b"scribble %d\n" % number)
        seen.append(content(sample.store))
        submit(sample.store)
        assert "corrupt-" in sample.store.notes[0]
        assert Path(sample.store.notes[0].split("kept as ")[1].split(",")[0]).read_bytes() == seen[-1]
    assert sorted(kept_aside(sample.store)) == sorted(seen)


def test_setting_aside_twice_in_one_commit_keeps_one_copy(sample: Sample) -> None:
    with sample.store.commit() as commit:
        assert commit._file.set_aside() == commit._file.set_aside()
    assert kept_aside(sample.store) == [sample.data]


def test_damage_in_the_middle_of_what_was_added_is_told_to_a_follower(sample: Sample) -> None:
    follower = Follower(sample.store)
    follower.catch_up()
    with open(sample.store.path, "ab") as file:
        file.write(b"scribble\n" + encode_line(0, 9, ("spec", 8), "after"))
    assert follower.catch_up() is None
    assert follower.fold.of("spec")[8] == "after"
    assert follower.fold.dropped == [f"line of 8 bytes at byte {len(sample.data)}"]
    assert follower.catch_up() == []
    with sample.store.commit() as commit:
        follower.catch_up()
        follower.rebase(commit.repair(follower.fold))
        commit.put("wish", 8, "more")
    assert follower.catch_up() == [("wish", 8)]
    assert records(follower.fold) == records(sample.store.read())
    assert follower.fold.dropped == sample.store.read().dropped == []
    assert kept_aside(sample.store)
    follower.close()


def test_a_follower_notices_what_was_written_over_what_it_has_read_and_keeps_what_it_knows(sample: Sample) -> None:
    for number in range(1, len(sample.lines) - 1):
        sample.becomes(sample.data)
        follower = Follower(sample.store)
        follower.catch_up()
        begin = sum(map(len, sample.lines[:number]))
        with open(sample.store.path, "r+b") as file:
            file.seek(begin)
            file.write(b"?" * (len(sample.lines[number]) - 1))
        assert follower.catch_up() == []
        new = submit(sample.store, "new")
        spoilt = content(sample.store)
        assert follower.catch_up() == [("spec", new)]
        expected = {**sample.of_lines(list(range(len(sample.lines)))), ("spec", new): "new"}
        assert records(follower.fold) == expected, number
        assert follower.fold.dropped, number
        with sample.store.commit() as commit:
            follower.catch_up()
            follower.rebase(commit.repair(follower.fold))
        assert records(sample.store.read()) == expected, number
        assert sample.store.read().dropped == follower.fold.dropped == []
        assert kept_aside(sample.store) == [spoilt]
        follower.close()


@pytest.mark.parametrize("place", [0, 8, 9, 20, -2, -1])
def test_what_was_written_over_the_last_line_is_noticed_and_known_too(sample: Sample, place: int) -> None:
    for length in (1, 15):
        sample.becomes(sample.data)
        follower = Follower(sample.store)
        follower.catch_up()
        begin = len(sample.data) - len(sample.lines[-1]) + place % len(sample.lines[-1])
        spoilt = (sample.data[:begin] + b"\0" * length + sample.data[begin + length :])[: len(sample.data)]
        with open(sample.store.path, "r+b") as file:
            file.write(spoilt)
        assert follower.catch_up() == []
        assert follower.fold.dropped
        with sample.store.commit(follower.fold, follower.offset) as commit:
            follower.catch_up()
            commit.put("wish", 1, "more")
        follower.catch_up()
        expected = {**sample.of_lines(list(range(len(sample.lines)))), ("wish", 1): "more"}
        assert records(sample.store.read()) == records(follower.fold) == expected
        assert follower.fold.dropped == sample.store.read().dropped == []
        assert kept_aside(sample.store) == [spoilt]
        assert submit(sample.store) > sample.greatest_id
        follower.close()


# --- full and read-only disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[State]:
    """A state directory on a file system of 256 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "none", place], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("mounting needs root")
    state = State(str(place / "state"))
    state.prepare()
    yield state
    subprocess.run(["umount", "-l", place], check=True)  # lazily: a test that fails may hold a file open there


def fill(place: str) -> None:
    with open(place + "/filler", "wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass


def test_a_full_disk_refuses_a_submission_and_keeps_the_rest(small_disk: State) -> None:
    store = Store(small_disk, judged=False)
    submit(store)
    before = content(store)
    fill(small_disk.root)
    with pytest.raises(SystemFailed, match=r"snapshot\.jsonl: No space left on device") as failure:
        submit(store, "x" * 50_000)
    assert failure.value.status == 3
    assert content(store) == before
    assert records(store.read()) == {("spec", 1): "job"}
    with pytest.raises(SystemFailed), store.commit() as commit:
        commit.rewrite(commit.fold())
    with pytest.raises(SystemFailed), store.commit() as commit:
        commit._file.set_aside()
    assert content(store) == before
    os.unlink(small_disk.path("filler"))
    assert sorted(os.listdir(small_disk.root)) == ["snapshot.jsonl", "snapshot.lock"]
    assert submit(store, "x" * 50_000) == 2


def test_a_damaged_file_on_a_full_disk_is_not_rewritten_without_a_copy(small_disk: State) -> None:
    store = Store(small_disk, judged=False)
    submit(store, "x" * 20_000, count=2)
    with open(store.path, "ab") as file:
        file.write(b"scribble\n")
    before = content(store)
    fill(small_disk.root)
    with pytest.raises(SystemFailed, match="No space left"):
        submit(store)
    assert content(store) == before
    os.unlink(small_disk.path("filler"))
    assert submit(store) > 2
    assert kept_aside(store) == [before]


def test_a_full_disk_makes_no_snapshot(small_disk: State) -> None:
    store = Store(small_disk, judged=False)
    with store.commit():
        pass
    os.unlink(store.path)
    fill(small_disk.root)
    with pytest.raises(SystemFailed, match="No space left"):
        submit(store)
    assert sorted(os.listdir(small_disk.root)) == ["filler", "snapshot.lock"]
    os.unlink(small_disk.path("filler"))
    assert submit(store) == 1


def in_child(work: Callable[[], None]) -> int:
    """The exit code of a process that runs `work`; that of a `GflowError` is its status."""

    def run() -> None:
        try:
            work()
        except GflowError as error:
            os._exit(error.status)

    child = FORK.Process(target=run)
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


@pytest.mark.parametrize("room", [0, 1, 30, 200])
def test_a_file_size_limit_tears_no_commit(store: Store, room: int) -> None:
    submit(store)
    before = content(store)

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, len(before) + room))
        submit(store, "x" * 100, count=5)

    assert in_child(work) == 3
    assert content(store) == before
    assert submit(store) == 2


@pytest.mark.parametrize("room", [0, 20])
def test_a_file_size_limit_makes_no_half_of_a_snapshot(store: Store, room: int) -> None:
    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        submit(store)

    assert in_child(work) == 3
    assert os.listdir(store.state.root) == ["snapshot.lock"]
    assert submit(store) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_read_only_file_system_is_the_systems_failure_and_can_be_read(small_disk: State) -> None:
    store = Store(small_disk, judged=False)
    submit(store)
    mounted = os.path.dirname(small_disk.root)
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    with pytest.raises(SystemFailed, match="Read-only file system"):
        submit(store)
    assert records(store.read()) == {("spec", 1): "job"}
    subprocess.run(["mount", "-o", "remount,rw", mounted], check=True)
    assert submit(store) == 2


def test_a_directory_that_may_not_be_written_is_the_systems_failure(state: State) -> None:
    """Appending still works there; a rewrite, which needs a second file, does not, and leaves the first as it was."""
    store = Store(state, judged=False)
    submit(store)
    before = content(store)

    def work() -> None:
        if os.geteuid() == 0:
            os.seteuid(65534)
        submit(store, "appended")
        try:
            with store.commit() as commit:
                commit.rewrite(commit.fold())
        except SystemFailed as failure:
            os._exit(3 if "Permission denied" in str(failure) else 4)

    if os.geteuid() == 0:
        for path in (state.root, store.path, state.snapshot_lock):
            os.chown(path, 65534, 65534)
        for parent in list(Path(state.root).parents)[:-2]:
            os.chmod(parent, 0o711)
    os.chmod(state.root, 0o500)
    try:
        assert in_child(work) == 3
    finally:
        os.chmod(state.root, 0o700)
    assert content(store).startswith(before)
    assert content(store).count(b"\n") == 3
    assert sorted(os.listdir(state.root)) == ["snapshot.jsonl", "snapshot.lock"]


# --- kills and errors at every system call

CALLS = ["write", "pread", "fsync", "fdatasync", "rename", "ftruncate", "open", "fstat"]


class Trap:
    """Counts the calls of `CALLS`; the n-th one kills this process or fails, once or from then on."""

    def __init__(self, place: int, how: str) -> None:
        self.place = place
        self.how = how
        self.count = 0
        for name in CALLS:
            setattr(os, name, self.around(name, getattr(os, name)))

    def around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def trapped(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count == self.place or (self.how == "fails for good" and self.count > self.place):
                if name == "write":
                    call(args[0], bytes(args[1])[: len(args[1]) * 2 // 3])
                if self.how == "is killed":
                    os._exit(9)
                raise OSError(5, "Input/output error")
            return call(*args, **kwargs)

        return trapped


def commit_three(store: Store) -> None:
    submit(store, "new", count=3)


def rewrite(store: Store) -> None:
    with store.commit() as commit:
        commit.rewrite(commit.fold())


def rewrite_and_commit(store: Store) -> None:
    with store.commit() as commit:
        fold = commit.fold()
        commit.rewrite(fold)
        for job_id in range(commit.allocate(3), commit.next_id):
            commit.put("spec", job_id, "new")


def set_first_quota(store: Store) -> None:
    with store.commit() as commit:
        for job_id in range(commit.allocate(2), commit.next_id):
            commit.put("spec", job_id, "new")
        commit.put("quota", "default-user", "new")


BEFORE: dict[str, Callable[[bytes], bytes]] = {
    "a sound file": lambda data: data,
    "a torn end": lambda data: data + encode_line(1, 90, ("spec", 89), "torn") + b"0123",
    "a damaged end": lambda data: data[:-20] + b"?" + data[-19:],
    "a damaged header": lambda data: b"?" + data[1:],
}


@pytest.mark.parametrize("how", ["is killed", "fails once", "fails for good"])
@pytest.mark.parametrize("work", [commit_three, rewrite, rewrite_and_commit, set_first_quota])
@pytest.mark.parametrize("before", BEFORE)
def test_at_every_system_call_it_is_the_old_or_the_new_state(
    sample: Sample, work: Callable[[Store], None], before: str, how: str
) -> None:
    data = BEFORE[before](sample.data)
    damaged = before.startswith("a damaged")
    sample.becomes(data)
    submit(sample.store, "first")
    old = {key: value for key, value in records(sample.store.read()).items() if value != "first"}
    reached_the_end = False
    begin = (list(BEFORE).index(before) + sum(map(ord, f"{work.__name__} {how}"))) % STEP
    for place in range(1 + begin, 200, STEP):
        sample.becomes(data)

        def trapped(place: int = place) -> None:
            trap = Trap(place, how)
            work(sample.store)
            os._exit(77 if trap.count < place else 0)

        code = in_child(trapped)
        copies = kept_aside(sample.store)
        next_id = submit(sample.store, "after")
        got = {key: value for key, value in records(sample.store.read()).items() if value != "after"}
        extra = {key: value for key, value in got.items() if key not in old}
        assert {**old, **extra} == got, (place, code)
        assert list(extra.values()) in ([], ["new"] * 3), (place, code)
        assert next_id > max(key for kind, key in got if kind == "spec"), (place, code)
        assert next_id > sample.greatest_id, (place, code)
        assert sample.store.read().dropped == [], (place, code)
        assert code in ((0, 3, 77) if how != "is killed" else (0, 9, 77)), (place, code)
        if code in (0, 77):
            assert bool(extra) == (work is not rewrite), (place, code)
        elif code == 3 and how == "fails once":  # for good: then it cannot be taken back either
            assert not extra, (place, code)
        assert not damaged or data in copies or data in kept_aside(sample.store), (place, code)
        if code == 77:
            reached_the_end = True
            break
    assert reached_the_end


@pytest.mark.parametrize("how", ["is killed", "fails once", "fails for good"])
def test_making_the_snapshot_at_every_system_call_leaves_it_or_none(sample: Sample, how: str) -> None:
    reached_the_end = False
    for place in range(1, 100):
        sample.becomes(b"")
        os.unlink(sample.store.path)

        def trapped(place: int = place) -> None:
            trap = Trap(place, how)
            commit_three(sample.store)
            os._exit(77 if trap.count < place else 0)

        code = in_child(trapped)
        assert submit(sample.store, "after") in (1, 4), (place, code)
        specs = sample.store.read().of("spec")
        assert list(specs.values()) in (["after"], ["new"] * 3 + ["after"]), (place, code)
        assert code in (0, 3, 9, 77), (place, code)
        if code == 77:
            reached_the_end = True
            break
    assert reached_the_end


def test_a_writer_killed_at_any_moment_leaves_whole_commits(fast_state: State) -> None:
    """Not at chosen calls but at any time; the survivors' count of ids tells what was acknowledged."""
    store = Store(fast_state, judged=False)
    fast_state.prepare()
    acknowledged = 0
    for number in range(10):
        inbox, outbox = os.pipe()

        def work(outbox: int = outbox) -> None:
            while True:
                os.write(outbox, b"%d\n" % submit(store, "x" * 3000, count=20))

        child = FORK.Process(target=work)
        child.start()
        os.close(outbox)
        if number % 2:  # once it has written, however long that takes here
            select.select([inbox], [], [], 60)
        time.sleep(0.01 + number / 200)
        child.kill()
        child.join()
        with os.fdopen(inbox, "rb") as file:
            firsts = [int(line) for line in file.read().splitlines()]
        specs = Store(fast_state, judged=False).read().of("spec")
        assert len(specs) % 20 == 0
        assert all(first + 19 in specs and first > acknowledged for first in firsts)
        acknowledged = max([acknowledged, *(first + 19 for first in firsts)])
    assert acknowledged


def test_a_refused_repair_of_a_newer_file_leaves_it(sample: Sample) -> None:
    header = encode_line(0, 5, ("header", 0), {"format": 2})
    sample.becomes(header + b"torn")
    with pytest.raises(Refused, match="newer gflow"):
        submit(sample.store)
    assert content(sample.store) == header + b"torn"
