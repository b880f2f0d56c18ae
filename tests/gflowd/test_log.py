import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd import log
from gflowd.paths import State


@pytest.fixture
def state(state: State) -> Iterator[State]:
    yield state
    log.setup(State(os.devnull), "tests", "error", stderr=False)  # lets go of the file


def lines(state: State) -> list[str]:
    return Path(state.log).read_text(encoding="utf-8").splitlines()


def test_an_event_is_one_line_with_time_level_source_and_fields(state: State) -> None:
    log.setup(state, "scheduler", "info", stderr=False)
    log.get("scheduler").info("started", job=42, gpus=(0, 1), command="a b", ok=True, nothing=None, took=0.25)
    (line,) = lines(state)
    stamp, rest = line.split(" ", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp)
    assert rest == 'info scheduler started job=42 gpus=0,1 command="a b" ok=true nothing=null took=0.25'


def test_the_time_is_utc_with_milliseconds() -> None:
    assert log.line(0.0625, "info", "a", "b", {}) == "1970-01-01T00:00:00.062Z info a b"


def test_the_file_is_private_and_a_link_is_not_followed(state: State, tmp_path: Path) -> None:
    log.setup(state, "a", "info", stderr=False)
    log.get("a").info("one")
    assert stat.S_IMODE(os.stat(state.log).st_mode) == 0o600
    os.unlink(state.log)
    target = tmp_path / "target"
    target.touch()
    os.symlink(target, state.log)
    log.get("a").info("two")
    assert target.read_text() == ""


@given(st.text())
def test_whatever_a_field_holds_it_stays_one_printable_line(text: str) -> None:
    line = log.line(0.0, "info", "a", "b", {"x": text})
    assert len(line.splitlines()) == 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line)
    line.encode()


def test_a_level_that_is_off_writes_nothing(state: State) -> None:
    log.setup(state, "a", "warning", stderr=False)
    log.get("a").info("one")
    log.get("a").warning("two")
    assert [line.split()[1:] for line in lines(state)] == [["warning", "a", "two"]]


def test_a_part_of_a_process_is_named_with_it(state: State) -> None:
    log.setup(state, "scheduler", "info", stderr=False)
    log.get("tmux").error("gone")
    assert lines(state)[0].split()[1:] == ["error", "scheduler.tmux", "gone"]


def test_an_exception_is_told_with_its_traceback_on_the_same_line(state: State) -> None:
    log.setup(state, "a", "info", stderr=False)
    try:
        int("bad\nthing")
    except ValueError:
        log.get("a").exception("crashed", worker="x")
    (line,) = lines(state)
    assert "error a crashed worker=x traceback=" in line
    assert "bad\\\\nthing" in line


def test_setting_up_again_does_not_write_twice(state: State) -> None:
    log.setup(state, "a", "info", stderr=False)
    log.setup(state, "b", "info", stderr=False)
    log.get("b").info("once")
    assert len(lines(state)) == 1


def test_stderr_gets_the_same_line_when_asked(state: State, capsys: pytest.CaptureFixture[str]) -> None:
    log.setup(state, "a", "info", stderr=True)
    log.get("a").info("hello")
    assert capsys.readouterr().err.splitlines() == lines(state)


def test_a_rotated_file_is_left_and_a_new_one_made(state: State) -> None:
    log.setup(state, "a", "info", stderr=False)
    for number in range(6):
        log.get("a").info("event", number=number)
        assert log.rotate(state.log, size=10, keep=3)
    kept = sorted(os.listdir(os.path.dirname(state.log)))
    assert kept == ["gflowd.log.1", "gflowd.log.2", "gflowd.log.3"]
    assert "number=5" in Path(f"{state.log}.1").read_text()
    assert "number=3" in Path(f"{state.log}.3").read_text()


def test_a_small_or_missing_log_is_not_rotated(state: State) -> None:
    assert not log.rotate(state.log)
    log.setup(state, "a", "info", stderr=False)
    log.get("a").info("event")
    assert not log.rotate(state.log, size=1000)


def test_a_full_disk_or_lost_directory_stops_nobody(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    log.setup(state, "a", "info", stderr=False)
    log.get("a").info("first")

    def full(_fd: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        log.get("a").info("lost")
    log.get("a").info("last")
    assert [line.split()[3] for line in lines(state)] == ["first", "last"]
    os.rename(os.path.dirname(state.log), state.root + "/away")
    log.get("a").info("nowhere")


def test_the_end_of_a_line_that_a_full_disk_took_does_not_spoil_the_next(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.setup(state, "a", "info", stderr=False)
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda fd, data: write(fd, data[:10]))
        log.get("a").info("torn")
    log.get("a").info("whole")
    assert lines(state)[1].endswith("info a whole")


def test_a_closed_stderr_stops_nobody(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    log.setup(state, "a", "info", stderr=True)
    log.get("a").info("hello")
    assert len(lines(state)) == 1


def test_lines_of_many_processes_do_not_mix(state: State) -> None:
    children = []
    for number in range(4):
        pid = os.fork()
        if pid == 0:
            log.setup(state, f"p{number}", "info", stderr=False)
            for _ in range(50):
                log.get(f"p{number}").info("event", text="x" * 500)
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    assert len(lines(state)) == 200
    assert all(line.endswith("x" * 500) and line.count("Z info ") == 1 for line in lines(state))
