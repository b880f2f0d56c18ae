"""The output of jobs in pieces: safe to show, bounded, and followed as it grows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gflowctl.web import log_pieces
from gflowd.core.errors import Refused

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"plain\n", "plain\n"), (b"\x1b[1;31mred\x1b[0m\n", "red\n"), (b"\x1b]0;title\x07here\n", "here\n"),
        (b"10%\r20%\r30%\nnext\n", "30%\nnext\n"), (b"a\r\nb\r\n", "a\nb\n"), (b"50%\r", "50%"),
        (b"\x00\x07\x7f\n", "\u2400\u2407\u2421\n"), (b"\xff\xfe\n", "\ufffd\ufffd\n"), (b"tab\there\n", "tab\there\n"),
        ("caf\u00e9 \u202etxt.exe\n".encode(), "caf\u00e9 \\u202etxt.exe\n"), (b"\x1b\n", "\u241b\n"),
    ],
)  # fmt: skip
def test_what_is_shown_does_not_act(data: bytes, shown: str) -> None:
    assert log_pieces.plain(data) == shown


def test_pieces_cover_a_log_line_by_line_from_either_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lines = [f"{number} {'x' * (number % 300)}\n" for number in range(3000)]
    log.write_text("".join(lines) + "the rest")
    text, at = "", 0
    for _ in range(100):
        found = log_pieces.piece(str(log), at, terminal=False)
        assert found is not None
        text += found.lines + found.rest
        assert found.end - found.begin <= log_pieces.PIECE
        if found.end == found.size:
            break
        assert found.rest == ""
        at = found.end
    assert text == log.read_text()
    last = log_pieces.piece(str(log), terminal=False)
    assert last is not None
    assert (last.end, last.rest) == (last.size, "the rest")
    assert last.lines.split("\n")[0] + "\n" in lines
    assert log_pieces.piece(str(tmp_path / "none"), terminal=False) is None


def test_a_line_that_fills_a_piece_is_passed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"y" * (3 * log_pieces.PIECE))
    found = log_pieces.piece(str(log), 0, terminal=False)
    assert found is not None
    assert (found.end, len(found.rest)) == (log_pieces.PIECE, log_pieces.PIECE)


def test_a_gigabyte_costs_no_more_than_a_piece(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.truncate(1 << 30)
        file.seek(-6, os.SEEK_END)
        file.write(b"\nlast\n")
    growth = log_pieces.Growth(str(log), 0, terminal=False)
    news = growth.news()
    assert news is not None
    assert (news["anew"], news["add"]) == (True, "last\n")
    assert len(next(log_pieces.raw(str(log)))) == log_pieces.PIECE


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", str(tmp_path / "pipe"), str(tmp_path)):
        with pytest.raises(Refused, match="is not a regular file"):
            log_pieces.piece(path, terminal=False)


def test_a_log_is_followed_through_whatever_becomes_of_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    growth = log_pieces.Growth(str(log), 0, terminal=True)
    assert growth.news() is None
    log.write_bytes(b"one\r\n 10%\r 20%")
    assert growth.news() == {"anew": False, "add": "one\n", "rest": " 20%", "at": 5}
    assert growth.news() is None
    log.write_bytes(b"one\r\n 10%\r 20%\r 30%\r\ntwo\r\n")
    assert growth.news() == {"anew": False, "add": " 30%\ntwo\n", "rest": "", "at": 26}
    log.write_bytes(b"new\n")
    assert growth.news() == {"anew": True, "add": "new\n", "rest": "", "at": 4}
    log.write_bytes(b"new\n" + b"much\n" * 100000)
    news = growth.news()
    assert news is not None
    assert news["anew"]
    assert len(str(news["add"])) <= log_pieces.PIECE
