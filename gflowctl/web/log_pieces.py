"""A job's output in pieces of bounded size, as text that is safe to show: from any place of it, and as it grows.

Colours and cursor movements are left out, a line that was overwritten shows what it ended with, and what does not print
is shown as a sign or an escape. `raw` has the bytes.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowctl.output import render
from gflowctl.output.failure_output import SEQUENCE
from gflowctl.view.job_log import open_log
from gflowctl.view.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE = 1 << 16  # bytes
MOST_AT_ONCE = 4 * PIECE  # bytes of news: of more only the end is shown
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes `begin` to `end` of `size`. `lines` are whole; `rest` is the beginning of one, which begins at `line`."""

    lines: str
    rest: str
    begin: int
    line: int
    end: int
    size: int


def piece(path: str, begin: int | None = None, *, terminal: bool) -> Piece | None:
    """At most `PIECE` bytes from `begin` on, in whole lines where they fit, or the last ones; None without a file."""
    fd = open_log(path)
    if fd is None:
        return None
    try:
        size = os.fstat(fd).st_size
        if begin is None or begin >= size:
            begin = None
        first = max(0, size - PIECE) if begin is None else begin
        data = os.pread(fd, PIECE, first)
        if begin is None and first:
            first, data = _from_a_line(first, data)
        last = first + len(data)
        whole = data.rfind(b"\n") + 1
        if last < size and whole:
            data, last = data[:whole], first + whole
        transcript = _begun(fd, first) if terminal else None
    finally:
        os.close(fd)
    lines, rest = data[:whole], data[whole:]
    if transcript is not None:
        lines, rest = transcript.feed(lines), transcript.feed(rest) + transcript.finish()
    return Piece(plain(lines), plain(rest), first, last - len(data[whole:]), last, size)


def _from_a_line(first: int, data: bytes) -> tuple[int, bytes]:
    """Without the part of a line at the beginning."""
    start = data.find(b"\n") + 1
    return (first + start, data[start:]) if 0 < start < len(data) else (first, data)


def _begun(fd: int, first: int) -> Transcript:
    """A transcript that knows what the terminal was asked shortly before."""
    transcript = Transcript()
    before = min(first, PIECE)
    if before:
        transcript.pass_over(os.pread(fd, before, first - before))
    return transcript


def plain(data: bytes) -> str:
    """What a person would see of whole lines, without colours."""
    text = SEQUENCE.sub("", data.decode(errors="replace")).replace("\r\n", "\n")
    if "\r" in text:
        text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return printable(text)


def printable(text: str) -> str:
    """`text` with a sign or an escape for whatever does not print, but line ends and tabs."""
    return _UNPRINTABLE.sub(_sign, text)


def _sign(found: re.Match[str]) -> str:
    code = ord(found[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else render.escape(found[0])


def raw(path: str) -> Iterator[bytes]:
    """All of it, piece by piece, as long as it was when this began. Raises `Refused`."""
    fd = open_log(path)
    if fd is None:
        return
    try:
        left = os.fstat(fd).st_size
        while left > 0 and (data := os.read(fd, min(PIECE, left))):
            left -= len(data)
            yield data
    finally:
        os.close(fd)


class Growth:
    """What a log gains after a place in it, where a line begins. Mutable."""

    def __init__(self, path: str, begin: int, *, terminal: bool) -> None:
        self.path = path
        self._terminal = terminal
        self._at = begin  # where a line begins
        self._seen = -1  # the size at the last look
        self._transcript: Transcript | None = None

    def news(self) -> dict[str, object] | None:
        """`add` lines and `rest`, the beginning of the next, which is `at` a place; with `anew` in place of all before;
        None for no news.
        """
        fd = open_log(self.path)
        if fd is None:
            return None
        try:
            size = os.fstat(fd).st_size
            if size == self._seen:
                return None
            anew = size < self._at or size - self._at > MOST_AT_ONCE
            self._seen = size
            if not anew:
                return self._added(os.pread(fd, MOST_AT_ONCE, self._at), fd)
        finally:
            os.close(fd)
        found = piece(self.path, terminal=self._terminal)
        if found is None:
            return None
        self._at, self._transcript = found.line, None
        return {"anew": True, "add": found.lines, "rest": found.rest, "at": self._at}

    def _added(self, data: bytes, fd: int) -> dict[str, object]:
        whole = data.rfind(b"\n") + 1
        lines, rest = data[:whole], data[whole:]
        if self._terminal and self._transcript is None:
            self._transcript = _begun(fd, self._at)
        self._at += whole
        if self._transcript is not None:
            lines = self._transcript.feed(lines)
            rest = rest.replace(b"\r\n", b"\n").rstrip(b"\r")
        return {"anew": False, "add": plain(lines), "rest": plain(rest), "at": self._at}
