from __future__ import annotations

import fcntl
import os
import resource
import stat
import time
from pathlib import Path

import pytest

from gflowd.core.execution import job_script, usage
from gflowd.core.job.model import Identity
from gflowd.effects.attempt import jobdir

STAT = "42 (sh) S 7 42 40 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3"


@pytest.fixture
def directory(tmp_path: Path) -> str:
    place = tmp_path / "jobs" / "1" / "1"
    place.mkdir(parents=True)
    return str(place)


def write(directory: str, name: str, content: bytes, *, age: float = 0.0) -> float:
    """When the file was written, as it says."""
    path = Path(directory, name)
    path.write_bytes(content)
    at = time.time() - age
    os.utime(path, (at, at))
    return at


def test_who_began_and_when_is_read(directory: str) -> None:
    at = write(directory, "pid", f"boot-id {STAT}\n".encode(), age=100.0)
    found = jobdir.beginning(directory)
    assert found is not None
    assert (found.identity, found.why) == (Identity("boot-id", 42, 98765), None)
    assert found.at == pytest.approx(at, abs=0.001)


@pytest.mark.parametrize(
    "content",
    [b"", b"boot", f"boot {STAT}".encode(), b"\n", b"boot \n", b"boot 42 (sh) S\n", b"\xff\xfe\n", b"\0" * 99],
)
def test_what_is_not_yet_written_whole_is_no_beginning(directory: str, content: bytes) -> None:
    write(directory, "pid", content)
    assert jobdir.beginning(directory) is None


def test_without_a_file_or_a_directory_there_is_nothing_to_see(directory: str) -> None:
    for place in (directory, directory + "/gone"):
        assert jobdir.beginning(place) is None
        assert jobdir.exit_record(place) is None
        assert not jobdir.is_held(place)
        assert not jobdir.log_has_ended(place)


@pytest.mark.parametrize("status", [0, 1, 9, 42, 137, 255])
def test_an_exit_status_is_read(directory: str, status: int) -> None:
    at = write(directory, "exit", b"%d\n" % status, age=50.0)
    found = jobdir.exit_record(directory)
    assert found is not None
    assert (found.status, found.trouble) == (status, None)
    assert found.at == pytest.approx(at, abs=0.001)


def test_that_it_was_ended_for_want_of_memory_is_read(directory: str) -> None:
    for content, starved in ((b"137 oom\n", True), (b"137\n", False)):
        write(directory, "exit", content)
        found = jobdir.exit_record(directory)
        assert found is not None
        assert (found.status, found.starved) == (137, starved)


def test_why_it_could_not_be_launched_is_read(directory: str) -> None:
    write(directory, "exit", b"launch cannot enter /x \xff y\n")
    found = jobdir.exit_record(directory)
    assert found is not None
    assert (found.status, found.trouble) == (None, "cannot enter /x \ufffd y")


@pytest.mark.parametrize(
    "content",
    [b"", b"0", b"\n", b"-1\n", b"256\n", b"1000\n", b"300 oom\n", b"oom\n", b"137 doom\n", b" 1\n", b"x\n", b"launch",
     "²\n".encode(), "٣\n".encode(), b"9" * 4000 + b"\n"],
)  # fmt: skip
def test_what_no_shell_wrote_is_no_record(directory: str, content: bytes) -> None:
    write(directory, "exit", content)
    assert jobdir.exit_record(directory) is None


@pytest.mark.parametrize("name", ["pid", "exit"])
def test_neither_links_nor_fifos_are_read(directory: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "other").write_text(f"boot {STAT}\n")
    os.symlink(tmp_path / "other", Path(directory, name))
    assert jobdir.beginning(directory) is None
    assert jobdir.exit_record(directory) is None
    os.unlink(Path(directory, name))
    os.mkfifo(Path(directory, name))
    assert jobdir.beginning(directory) is None
    assert jobdir.exit_record(directory) is None


def test_a_directory_in_place_of_a_record_is_none(directory: str) -> None:
    os.mkdir(os.path.join(directory, "exit"))
    assert jobdir.exit_record(directory) is None


def test_the_end_of_the_log_is_marked_by_a_file(directory: str) -> None:
    write(directory, "log.end", b"")
    assert jobdir.log_has_ended(directory)


def test_alive_is_held_while_somebody_has_the_lock_and_looking_takes_it_from_nobody(directory: str) -> None:
    write(directory, "alive", b"")
    assert not jobdir.is_held(directory)
    with Path(directory, "alive").open("a") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert jobdir.is_held(directory)
        assert jobdir.is_held(directory)
    assert not jobdir.is_held(directory)


def test_alive_is_held_while_somebody_has_the_pipe_open_and_a_look_is_no_such(directory: str) -> None:
    jobdir.prepare(directory, b"")
    assert not jobdir.is_held(directory)
    holder = os.open(os.path.join(directory, "alive"), os.O_RDWR)
    heir = os.dup(holder)
    os.close(holder)
    assert jobdir.is_held(directory)
    assert jobdir.is_held(directory)
    os.close(heir)
    assert not jobdir.is_held(directory)


def test_preparing_again_leaves_the_pipe_to_who_has_it(directory: str) -> None:
    jobdir.prepare(directory, b"")
    holder = os.open(os.path.join(directory, "alive"), os.O_RDWR)
    jobdir.prepare(directory, b"")
    assert jobdir.is_held(directory)
    os.close(holder)


def test_who_cannot_look_takes_alive_as_held(directory: str) -> None:
    jobdir.prepare(directory, b"")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limit[1]))
    try:
        assert jobdir.is_held(directory)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


def test_barring_keeps_an_attempt_from_beginning_and_says_why(directory: str) -> None:
    assert jobdir.bar(directory, "no\ttmux")
    found = jobdir.beginning(directory)
    assert found is not None
    assert (found.identity, found.why) == (None, "no\ttmux")
    assert not jobdir.bar(directory, "another reason")
    assert jobdir.beginning(directory) == found


def test_barring_without_a_reason_has_none(directory: str) -> None:
    jobdir.bar(directory + "/2")
    found = jobdir.beginning(directory + "/2")
    assert found is not None
    assert (found.identity, found.why) == (None, None)


def test_what_has_begun_cannot_be_barred(directory: str) -> None:
    write(directory, "pid", f"boot {STAT}\n".encode(), age=1000.0)
    assert not jobdir.bar(directory)
    assert Path(directory, "pid").read_text() == f"boot {STAT}\n"


def test_a_beginning_that_was_never_written_whole_can_be_barred_in_the_end(directory: str) -> None:
    write(directory, "pid", b"boo")
    assert not jobdir.bar(directory, "x"), "it may be being written"
    write(directory, "pid", b"boo", age=jobdir.TORN_AFTER + 1)
    assert jobdir.bar(directory, "x")
    found = jobdir.beginning(directory)
    assert found is not None
    assert (found.identity, found.why) == (None, "x")


def test_a_step_is_marked_once(directory: str) -> None:
    assert jobdir.mark(directory, "INT")
    assert not jobdir.mark(directory, "INT")
    assert jobdir.mark(directory, "TERM")


def test_a_mark_in_a_directory_that_is_gone_is_an_error(directory: str) -> None:
    with pytest.raises(FileNotFoundError):
        jobdir.mark(directory + "/gone", "INT")


def test_the_script_is_prepared_whole_and_for_us_alone(tmp_path: Path) -> None:
    place = str(tmp_path / "jobs" / "7" / "1")
    script = b"#!/bin/sh\n" + bytes(range(256)) * 4000
    for _ in range(2):  # a launch that is done again
        jobdir.prepare(place, script)
        path = Path(place, "job.sh")
        assert path.read_bytes() == script
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert sorted(os.listdir(place)) == ["alive", "job.sh", "used"]


def test_room_for_the_last_word_is_made_once(tmp_path: Path) -> None:
    room = tmp_path / "used"
    for left in (None, b"", job_script.BLANK[:512]):  # by a disk that was full
        if left is not None:
            room.write_bytes(left)
        jobdir.prepare(str(tmp_path), b"")
        assert room.read_bytes() == job_script.BLANK
        assert stat.S_IMODE(room.stat().st_mode) == 0o600
    with room.open("r+b") as file:
        file.write(b"0m0.00s")
    written = room.read_bytes()
    jobdir.prepare(str(tmp_path), b"")
    assert room.read_bytes() == written, "who began meanwhile may have written there"
    assert jobdir.noted(str(tmp_path)) == usage.Noted()
    os.rename(room, tmp_path / "exit")
    assert jobdir.exit_record(str(tmp_path)) is None
    assert len(job_script.BLANK) == jobdir.LONGEST


def test_a_disk_that_is_full_leaves_no_half_script(tmp_path: Path) -> None:
    limit = 100_000
    place = str(tmp_path / "1")
    pid = os.fork()
    if not pid:
        import resource
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            jobdir.prepare(place, b"x" * (limit + 1))
        except OSError:
            os._exit(0)
        finally:
            os._exit(1)
    # a write that crosses the limit is cut short first, as on a disk that fills up
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not os.path.exists(os.path.join(place, "job.sh"))


@pytest.mark.parametrize(
    ("content", "status", "trouble"),
    [(b"127 not found\n", 127, "not found"), (b"126 not executable\n", 126, "not executable"), (b"127\n", 127, None)],
)
def test_a_shell_that_ran_no_command_says_so_beside_its_status(
    tmp_path: Path, content: bytes, status: int, trouble: str | None
) -> None:
    (tmp_path / "exit").write_bytes(content)
    found = jobdir.exit_record(str(tmp_path))
    assert found is not None
    assert (found.status, found.trouble, found.starved) == (status, trouble, False)


def test_pipes_are_copied_until_nobody_reads_them(directory: str) -> None:
    jobdir.prepare(directory, b"exit\n", ("out", "err"))
    assert jobdir.is_copied(directory)
    assert jobdir.has_drained(directory)
    reader = os.open(os.path.join(directory, "err"), os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(os.path.join(directory, "err"), os.O_WRONLY)
    assert not jobdir.is_copied(directory)
    assert jobdir.has_drained(directory)
    os.write(writer, b"x")
    assert not jobdir.has_drained(directory)
    os.close(reader)
    os.close(writer)
    assert jobdir.is_copied(directory)


def test_what_is_no_pipe_is_not_waited_for(directory: str) -> None:
    write(directory, "out", b"x")
    os.symlink("out", os.path.join(directory, "err"))
    assert jobdir.is_copied(directory)
    assert jobdir.has_drained(directory)
    os.remove(os.path.join(directory, "out"))
    os.mkdir(os.path.join(directory, "out"))
    assert jobdir.is_copied(directory)
    assert jobdir.has_drained(directory)
