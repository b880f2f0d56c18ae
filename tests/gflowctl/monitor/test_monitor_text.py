"""What is typed on the screen, and what of a log is shown: colours, and nothing else that steers a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.specs import SPEC

pytest.importorskip("textual")

from gflowctl.monitor import drawing, job_filter
from gflowctl.monitor.log_tail import LINES, LogTail
from gflowctl.monitor.log_text import LONGEST, LogText
from gflowd.core.errors import BadUsage
from gflowd.core.job.model import Identity, Job, Run, Running, Started, Wish
from gflowd.paths import State

STARTED = Started(at=1.0, mono=1.0, identity=Identity("b", 1, 1))


def shown(data: bytes) -> str:
    return "".join(part.text for part in LogText().line(data))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain", "plain"),
        (b"\x1b[31mred\x1b[0m and \x1b[1;38;5;200mmore\x1b[m", "red and more"),
        (b"10%\r20%\r", "20%"),
        (b"over\x1b[2K\rwritten", "written"),
        (b"\x1b]0;a title\x07shown\x1b]8;;http://x\x1b\\link", "shownlink"),
        (b"\x1b]52;c;never ending", ""),
        (b"\x1bPq sixel \x1b\\after", "after"),
        (b"\x1b[2J\x1b[H\x1b[?1049h\x1b7\x1b(0up", "up"),
        (b"a\tb", "a       b"),
        (b"\x9b31m bell\x07 \x08back \xff", "\ufffd31m bell back \ufffd"),
        ("[red]no markup[/] \u202eright to left".encode(), "[red]no markup[/] \\u202eright to left"),
        ("\u4e2d\u6587 wide".encode(), "\u4e2d\u6587 wide"),
        (b"x" * (LONGEST + 1), "x" * LONGEST + "+"),
        (b"\x1b[31m" + b"y" * (LONGEST + 1), "y" * LONGEST + "+"),
    ],
)
def test_of_a_log_only_text_and_its_colours_are_shown(data: bytes, text: str) -> None:
    assert shown(data) == text


def test_a_colour_lasts_until_it_is_changed_but_not_from_a_line_that_may_go_on() -> None:
    log = LogText()
    assert str(log.line(b"\x1b[31mred")[0].style) == "red"
    assert str(log.unfinished(b"\x1b[44;1mwaits")[0].style) == "bold red on blue"
    assert [str(part.style) for part in log.line(b"still\x1b[0;38;2;1;2;3mrgb\x1b[38;9;48;5;999mx")] == [
        "red", "rgb(1,2,3)", "rgb(1,2,3)",
    ]  # fmt: skip


@pytest.fixture
def tail(state: State) -> tuple[LogTail, Path]:
    run = Run(executor="process", launched_at=1.0)
    job = Job(id=1, spec=SPEC, wish=Wish(), phase=Running(run=run, started=STARTED))
    log = Path(state.job_log(1, 1))
    log.parent.mkdir(parents=True)
    return LogTail(state, job), log


def lines(tail: LogTail) -> list[str]:
    found = tail.read()
    assert found is not None
    return ["".join(part.text for part in line) for line in found.lines]


def test_a_log_is_followed_line_by_line(tail: tuple[LogTail, Path]) -> None:
    reader, log = tail
    first = reader.read()
    assert first is not None
    assert first.trouble == "there is no output yet"
    assert reader.read() is None
    log.write_bytes(b"one\ntw")
    assert lines(reader) == ["one", "tw"]
    assert reader.read() is None
    with log.open("ab") as file:
        file.write(b"o\n50%\r")
        file.flush()
        assert lines(reader) == ["one", "two", "50%"]
        file.write(b"100%\rdone\n")
        file.flush()
        assert lines(reader) == ["one", "two", "done"]
    log.write_bytes(b"again\n")
    assert lines(reader) == ["again"]
    log.unlink()
    log.mkdir()
    last = reader.read()
    assert last is not None
    assert last.trouble == f"{log} is not a regular file; its content cannot be shown"


def test_of_a_huge_log_only_the_end_is_read(tail: tuple[LogTail, Path]) -> None:
    reader, log = tail
    with log.open("wb") as file:
        file.truncate(1 << 30)  # a gibibyte of holes
        file.seek(0, 2)
        file.write(b"\nthe end\n")
    found = reader.read()
    assert found is not None
    assert found.omitted
    assert "".join(part.text for part in found.lines[-1]) == "the end"
    with log.open("ab") as file:
        file.write(b"".join(b"%d\n" % number for number in range(LINES + 10)))
    kept = lines(reader)
    assert kept[-1] == str(LINES + 9)
    assert len(kept) == LINES


def test_a_filter_is_typed_in_the_words_of_queue() -> None:
    found = job_filter.parse("-s R,queued -u ada --me -n 'a b' -P ml Train x", "bob")
    assert found.states == {"running", "queued"}
    assert found.users == {"ada", "bob"}
    assert found.names == {"a b"}
    assert found.projects == {"ml"}
    assert found.words == ("train", "x")
    assert not found.wants_ended
    assert job_filter.parse("-c", "x").wants_ended
    assert job_filter.parse("-s failed", "x").wants_ended
    assert job_filter.parse("", "x") == job_filter.Choice()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-s nonsense", "unknown state 'nonsense'"),
        ("-u", "-u/--user: expected one argument"),
        ("-q", "unknown option -q"),
        ("'open", "a quotation mark is not closed"),
    ],
)
def test_what_cannot_be_meant_is_said(text: str, said: str) -> None:
    with pytest.raises(BadUsage, match=said):
        job_filter.parse(text, "x")


def test_jobs_are_sorted_by_fields_of_queue() -> None:
    assert job_filter.sorting("user, -Time") == "USER,-TIME"
    with pytest.raises(BadUsage, match="unknown field 'NONSENSE'"):
        job_filter.sorting("-nonsense")


def test_columns_are_narrowed_and_then_left_out() -> None:
    assert drawing.fitted([5, 30, 0, 10], [5, 8, 0, 10], 100) == [5, 30, 0, 10]
    assert drawing.fitted([5, 30, 0, 10], [5, 8, 0, 10], 40) == [5, 21, 0, 10]
    assert drawing.fitted([5, 30, 0, 10], [5, 8, 0, 10], 20) == [5, 8, 0, 3]
    assert drawing.fitted([5, 30, 0, 10], [5, 8, 0, 10], 9) == [5, 2, 0, 0]
    assert drawing.cell("\u4e2d\u6587", 6) == "\u4e2d\u6587  "
    assert drawing.cell("\u4e2d\u6587", 3, right=True) == "\u4e2d+"
    assert drawing.bar(1, 1000, 4) == "[#...]"
