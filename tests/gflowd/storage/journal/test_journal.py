"""The journal of events: nothing is lost or told twice, whatever becomes of the file."""

from __future__ import annotations

import errno
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gflowd.core.errors import Refused, SystemFailed
from gflowd.core.events.told_events import ToldEvents
from gflowd.paths import State
from gflowd.storage.journal import lines
from gflowd.storage.journal.reader import Reader
from gflowd.storage.journal.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

KEEP = 2000


@pytest.fixture
def state(tmp_path: Path) -> State:
    found = State(str(tmp_path / "state"))
    found.prepare()
    return found


@pytest.fixture
def writer(state: State) -> Iterator[Writer]:
    found = opened(state)
    yield found
    found.close()


def opened(state: State, generation: int = 1) -> Writer:
    found = Writer(state, KEEP, generation)
    if found.is_lost:
        found.begin(ToldEvents(), (0, 0))
    return found


def submission(job: int) -> dict[str, Any]:
    return {"kind": "job_submitted", "at": 1.0, "job": job, "digest": 1, "state": "queued", "count": 1}


def write(writer: Writer, *jobs: int) -> None:
    writer.write([submission(job) for job in jobs])


def jobs(found: Sequence[dict[str, Any]]) -> list[int]:
    return [event["job"] for event in found]


def test_a_reader_goes_on_where_it_stopped(state: State, writer: Writer) -> None:
    reader = Reader(state)
    assert reader.read() == []
    write(writer, 1, 2)
    assert [(event["id"], event["job"]) for event in reader.read()] == [("1-1", 1), ("1-2", 2)]
    assert reader.read() == []
    write(writer, 3)
    assert jobs(reader.read()) == [3]
    reader.close()
    reader.close()
    other = Reader(state, reader.last)
    assert other.read() == []
    assert jobs(Reader(state, (1, 1)).read()) == [2, 3]
    skipped = Reader(state)
    skipped.skip()
    write(writer, 4)
    assert jobs(skipped.read()) == jobs(other.read()) == [4]
    assert os.stat(state.path(lines.CURRENT)).st_mode & 0o777 == 0o600


def test_a_reader_follows_over_the_renaming(state: State, writer: Writer) -> None:
    slow, quick = Reader(state), Reader(state)
    seen: list[int] = []
    for job in range(1, 100):
        write(writer, job)
        seen += jobs(quick.read())
    assert seen == list(range(1, 100))
    assert not quick.lost
    kept = jobs(slow.read())
    assert kept == list(range(kept[0], 100))
    assert kept[0] > 1
    assert not slow.lost, "it has not said from where"
    late = Reader(state, (1, 1))
    assert jobs(late.read()) == kept
    assert late.lost
    assert set(os.listdir(state.root)) == {lines.CURRENT, lines.OLDER}
    assert os.path.getsize(state.path(lines.OLDER)) < KEEP + 4000


def test_two_renamings_between_two_looks_lose_nothing_that_is_kept(state: State, writer: Writer) -> None:
    write(writer, 1)
    reader = Reader(state)
    assert jobs(reader.read()) == [1]
    older = state.path(lines.OLDER)
    job = 2
    for _ in range(2):
        before = os.stat(older).st_ino if os.path.exists(older) else None
        while not os.path.exists(older) or os.stat(older).st_ino == before:
            write(writer, job)
            job += 1
    found = jobs(reader.read())
    assert found == list(range(2, job))
    assert not reader.lost


def test_what_was_told_is_known_after_a_restart(state: State, writer: Writer) -> None:
    for job in range(1, 60):
        write(writer, job)
    again = opened(state, generation=2)
    assert set(again.told.specs) == set(range(1, 60))
    write(again, 60)
    assert again.last == (2, 1)
    assert opened(state, generation=2).last == (2, 1)
    third = opened(state, generation=1)  # as after the restoring of an older snapshot
    write(third, 61)
    assert third.last == (3, 1)


def test_a_torn_end_is_cut(state: State, writer: Writer) -> None:
    write(writer, 1, 2)
    path = Path(state.path(lines.CURRENT))
    whole = path.read_bytes()
    for cut in range(1, 40):
        path.write_bytes(whole[:-cut])
        assert jobs(Reader(state).read()) == [1]
        again = opened(state, generation=1 + cut)
        assert set(again.told.specs) == {1}
        write(again, 2)
        again.close()
        reader = Reader(state)
        assert jobs(reader.read()) == [1, 2]
        assert reader.last == (1 + cut, 1)


def test_a_damaged_line_is_passed_over(state: State, writer: Writer) -> None:
    """What it told is told again."""
    write(writer, 1, 2, 3)
    path = Path(state.path(lines.CURRENT))
    damaged = path.read_bytes().replace(b'"job":2', b"\0\0\0\0\0\0\0").replace(b'"job":3', b'"jab":3')
    path.write_bytes(damaged + b"[]\n" + b'{"id":"1-4"}\n' + b'{"id":"x-4"}\n')
    assert [event.get("job") for event in Reader(state).read()] == [1, None]
    assert set(opened(state, generation=2).told.specs) == {1}


@pytest.mark.parametrize("how", ["removed", "emptied", "added to", "replaced"])
def test_a_file_that_others_touched_is_begun_anew(state: State, writer: Writer, how: str) -> None:
    write(writer, 1, 2)
    reader = Reader(state)
    reader.read()
    path = Path(state.path(lines.CURRENT))
    if how == "removed":
        path.unlink()
    elif how == "emptied":
        os.truncate(path, 0)
        assert reader.read() == []
    elif how == "added to":
        with path.open("ab") as file:
            file.write(b"x\n")
    else:
        other = path.with_suffix(".x")
        other.write_bytes(b"")
        other.chmod(0o600)
        other.rename(path)
    write(writer, 3)
    assert jobs(reader.read()) == [3]
    assert not reader.lost
    assert set(opened(state, generation=2).told.specs) == {1, 2, 3}


@pytest.mark.parametrize("name", [lines.CURRENT, lines.OLDER, f"{lines.CURRENT}.new"])
@pytest.mark.parametrize("kind", ["link", "directory"])
@pytest.mark.parametrize("again", [False, True])
def test_what_is_no_file_is_set_aside(state: State, writer: Writer, name: str, kind: str, again: bool) -> None:
    write(writer, 1)
    reader = Reader(state)
    reader.read()
    path, kept = Path(state.path(name)), Path(state.path("kept"))
    kept.write_bytes(b"kept")
    for _ in range(2):
        if path.exists():
            path.unlink()
        if kind == "link":
            path.symlink_to(kept)
        else:
            path.mkdir()
            (path / "x").touch()
        if again:
            writer.close()
            writer = opened(state, generation=2)
        for job in range(2, 2 + KEEP // 50):
            write(writer, job)
        assert jobs(reader.read())[-1] == jobs(Reader(state).read())[-1] == 1 + KEEP // 50
    assert len(list(Path(state.root).glob(f"{name}.strange*"))) == 2
    assert kept.read_bytes() == b"kept"
    writer.close()


def test_a_file_that_is_far_too_large_fills_no_memory(
    state: State, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = state.path(lines.CURRENT)
    monkeypatch.setattr("gflowd.storage.journal.reader.PART", 1 << 20)
    monkeypatch.setattr("gflowd.storage.journal.writer.MOST", 1 << 20)
    write(writer, *range(1, 6))
    os.truncate(path, 1 << 27)
    reader = Reader(state)
    tracemalloc.start()
    assert jobs(reader.read()) == [1, 2, 3, 4, 5]
    other = opened(state, generation=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 24
    assert set(other.told.specs) == {1, 2, 3, 4, 5}
    write(other, 6)
    assert jobs(reader.read()) == [6]
    assert os.stat(path).st_size < 1 << 20
    other.close()


def test_a_reader_waits_while_the_file_is_gone(state: State, writer: Writer) -> None:
    for job in range(1, 50):
        write(writer, job)
    reader = Reader(state)
    reader.read()
    os.unlink(state.path(lines.CURRENT))
    assert reader.read() == []
    assert reader.read() == []
    write(writer, 50)
    assert jobs(reader.read()) == [50]


def test_without_a_checkpoint_the_older_file_tells(state: State, writer: Writer) -> None:
    """The scheduler was killed while it renamed, or the first line is damaged."""
    for job in range(1, 50):
        write(writer, job)
    path = Path(state.path(lines.CURRENT))
    whole = path.read_bytes()
    for content in (whole.replace(b'"specs"', b'"spics"'), b"x" + whole, None):
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        again = Writer(state, KEEP, 2)
        assert not again.is_lost
        again.close()
    os.unlink(state.path(lines.OLDER))
    path.write_bytes(whole.partition(b"\n")[2])
    path.chmod(0o600)
    assert Writer(state, KEEP, 2).is_lost


def test_events_that_came_before_a_lost_journal_are_missed(state: State, writer: Writer) -> None:
    write(writer, 1)
    for name in (lines.CURRENT, lines.OLDER):
        Path(state.path(name)).unlink(missing_ok=True)
    again = Writer(state, KEEP, 2)
    again.begin(ToldEvents(), None)
    write(again, 2, 3)
    reader = Reader(state, (1, 1))
    assert jobs(reader.read()) == [2, 3]
    assert reader.lost
    known = Reader(state, (2, 1))
    assert jobs(known.read()) == [3]
    assert not known.lost
    assert jobs(Reader(state).read()) == [2, 3]


@pytest.mark.parametrize("room", [0, 50, 300, 450])
def test_a_full_disk_loses_and_doubles_nothing(
    state: State, writer: Writer, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    write(writer, 1)
    reader = Reader(state)

    def full(fd: int, data: bytes) -> None:
        os.write(fd, data[:room])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("gflowd.paths.write_all", full)
        with pytest.raises(OSError, match="space"):
            write(writer, 2, 3, 4)
    assert jobs(reader.read()) == sorted(writer.told.specs)
    write(writer, *({2, 3, 4} - writer.told.specs.keys()))
    reader = Reader(state)
    found = reader.read()
    assert jobs(found) == [1, 2, 3, 4]
    assert len({event["id"] for event in found}) == 4


def test_a_disk_that_cannot_even_cut_loses_nothing(
    state: State, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def torn(fd: int, data: bytes) -> None:
        os.write(fd, data[:150])
        broken()

    with monkeypatch.context() as patched:
        patched.setattr("gflowd.paths.write_all", torn)
        patched.setattr("os.ftruncate", broken)
        with pytest.raises(OSError, match="Input"):
            write(writer, 1, 2)
    write(writer, 1, 2)
    found = Reader(state).read()
    assert {event["job"] for event in found} == {1, 2}
    assert len({event["id"] for event in found}) == len(found)


def test_a_full_disk_at_the_renaming_changes_nothing(
    state: State, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    os.unlink(state.path(lines.CURRENT))
    with monkeypatch.context() as patched:
        patched.setattr("gflowd.paths.write_all", full)
        with pytest.raises(OSError, match="space"):
            write(writer, 1)
    write(writer, 1)
    assert jobs(Reader(state).read()) == [1]


def test_a_file_that_is_not_private_is_not_read(state: State, writer: Writer) -> None:
    write(writer, 1)
    os.chmod(state.path(lines.CURRENT), 0o644)
    with pytest.raises(Refused, match="open to others"):
        Reader(state).read()
    os.unlink(state.path(lines.CURRENT))
    os.mkdir(state.path(lines.CURRENT))
    with pytest.raises((SystemFailed, Refused), match=lines.CURRENT):
        Reader(state).read()


def test_a_reader_that_nobody_has_keeps_no_file_open(state: State, writer: Writer) -> None:
    write(writer, 1)
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        assert jobs(Reader(state).read()) == [1]
    assert len(os.listdir("/proc/self/fd")) == len(before)
