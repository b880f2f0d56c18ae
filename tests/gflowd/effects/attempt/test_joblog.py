"""On a file system that can take a piece out of a file, and on one that cannot; while others append."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from support.waiting import eventually

from gflowd.core.execution.log_trimming import Mark
from gflowd.effects import proc
from gflowd.effects.attempt import joblog

MIB = 1 << 20
PLACES = [None, pytest.param("/dev/shm", marks=pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="none"))]


@pytest.fixture(params=PLACES, ids=["disk", "memory"])
def place(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The directory of an attempt."""
    root = tempfile.mkdtemp(prefix="gf-", dir=request.param)
    yield Path(root)
    rmtree(root)


def numbered(first: int, last: int) -> bytes:
    """Lines of 16 bytes."""
    return b"".join(b"%015d\n" % number for number in range(first, last))


def lines_of(data: bytes) -> list[bytes]:
    """The whole numbered lines."""
    return [line for line in data.split(b"\n") if len(line) == 15 and line.isdigit()]


def test_a_log_within_its_limit_is_left_alone(place: Path) -> None:
    (place / "log").write_bytes(b"x" * MIB)
    assert joblog.trim(str(place), MIB) == 0
    assert (place / "log").stat().st_size == MIB
    assert joblog.mark(str(place)) is None


def test_the_beginning_and_the_end_stay_and_a_line_between_them_says_so(place: Path) -> None:
    whole = numbered(0, 200_000)
    (place / "log").write_bytes(whole)
    assert joblog.size(str(place)) == len(whole)
    cut = joblog.trim(str(place), MIB)
    left = (place / "log").read_bytes()
    assert len(left) == len(whole) - cut <= MIB
    assert left[:500_000] == whole[:500_000]
    assert left[-250_000:] == whole[-250_000:]
    assert b"\n[gflow: %20d bytes are cut out here; [logs] max_size is 1 MiB]\n" % cut in left
    mark = joblog.mark(str(place))
    assert mark is not None
    assert mark.missing == cut
    assert left[mark.begin : mark.end].startswith(b"\n[gflow: ")


@pytest.mark.parametrize("limit", [1024, 1500, 10_000, 16 << 10, 100_000, 200 << 10, 300 << 10, MIB - 1])
@pytest.mark.parametrize("over", [1, 100, 5000, 700_000])
def test_small_limits_are_kept_to_the_byte(place: Path, limit: int, over: int) -> None:
    whole = numbered(0, (limit + over) // 16 + 1)[: limit + over]
    (place / "log").write_bytes(whole)
    cut = joblog.trim(str(place), limit)
    left = (place / "log").read_bytes()
    assert 0 < len(left) == len(whole) - cut <= limit
    assert left[: limit // 4] == whole[: limit // 4]
    assert left[-(limit // 4) :] == whole[-(limit // 4) :]
    assert left.count(b"[gflow: ") == 1
    (place / "log").write_bytes(whole[:limit])
    assert joblog.trim(str(place), limit) == 0


def test_later_cuts_are_counted_on_the_same_line(place: Path) -> None:
    total = 0
    for round_ in range(3):
        with (place / "log").open("ab") as file:
            file.write(numbered(round_ * 100_000, (round_ + 1) * 100_000))
        total += joblog.trim(str(place), MIB)
    left = (place / "log").read_bytes()
    assert left.count(b"[gflow: ") == 1
    assert b" %d bytes are cut out here" % total in left
    assert len(left) == 300_000 * 16 - total


class LastInstants:
    """`os` as `joblog` uses it, and how much is written between a last look at the log's size and its truncation."""

    def __init__(self, writer: subprocess.Popen[bytes]) -> None:
        self.writer = writer
        self.size: int | None = None
        self.written = 0  # bytes, in all of these instants together

    def __getattr__(self, name: str) -> Any:
        self.size = None  # whatever else is done makes the instant longer
        return getattr(os, name)

    def fstat(self, fd: int) -> os.stat_result:
        found = os.fstat(fd)
        self.size = found.st_size
        return found

    def ftruncate(self, fd: int, length: int) -> None:
        assert self.size is not None, "the look at the size was not the last thing before"
        self.writer.send_signal(signal.SIGSTOP)
        try:
            eventually(lambda: self.writer.poll() is not None or proc.is_stopped(self.writer.pid))
            self.written += os.fstat(fd).st_size - self.size
            os.ftruncate(fd, length)
        finally:
            self.writer.send_signal(signal.SIGCONT)


def test_a_job_that_writes_on_is_neither_stopped_nor_spoiled(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = place / "log"
    with log.open("ab") as out:
        writer = subprocess.Popen(["seq", "-w", "2000000"], stdout=out)
    instants = LastInstants(writer)
    monkeypatch.setattr(joblog, "os", instants)
    with writer:
        while writer.poll() is None:
            if log.stat().st_size > MIB:
                joblog.trim(str(place), MIB)
    assert writer.returncode == 0
    joblog.trim(str(place), MIB)
    data = log.read_bytes()
    assert len(data) <= MIB
    mark = joblog.mark(str(place))
    assert mark is not None
    assert data.startswith(b"0000001\n0000002\n")
    untold = 2_000_000 * 8 - len(data) - mark.missing
    if not str(place).startswith("/dev/shm"):
        assert data.endswith(b"1999999\n2000000\n")
        assert untold == 0
    else:  # the end is copied, and what is written in the instant between the copy and its end is lost
        kept = data[mark.end :].splitlines()[1:-1]
        assert kept == sorted(set(kept))
        assert untold == instants.written


def test_a_limit_lowered_later_cuts_again(place: Path) -> None:
    (place / "log").write_bytes(b"x" * 5 * MIB)
    joblog.trim(str(place), 4 * MIB)
    joblog.trim(str(place), MIB)
    mark = joblog.mark(str(place))
    assert mark is not None
    assert (place / "log").stat().st_size == 5 * MIB - mark.missing <= MIB


def test_what_is_no_plain_file_is_not_touched(place: Path) -> None:
    assert joblog.size(str(place)) is None
    with pytest.raises(FileNotFoundError):
        joblog.trim(str(place), MIB)
    elsewhere = place / "elsewhere"
    elsewhere.write_bytes(b"x" * 2 * MIB)
    (place / "log").symlink_to(elsewhere)
    assert joblog.size(str(place)) is None
    with pytest.raises(OSError, match="symbolic"):
        joblog.trim(str(place), MIB)
    (place / "log").unlink()
    os.mkfifo(place / "log")
    assert joblog.size(str(place)) is None
    assert joblog.trim(str(place), MIB) == 0
    assert elsewhere.stat().st_size == 2 * MIB


def test_a_damaged_mark_is_none(place: Path) -> None:
    (place / "log.cut").write_bytes(b"nonsense")
    assert joblog.mark(str(place)) is None
    (place / "log.cut").write_bytes(b"1 2 3\n")
    assert joblog.mark(str(place)) == Mark(1, 2, 3)
