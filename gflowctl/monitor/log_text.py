"""A job's output as lines that are safe to show: colours are kept, of all else that steers a terminal nothing. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style

from gflowctl.output import render

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 4096  # characters of a line; the rest is left out, and marked
TAB = 8
# CSI; OSC, DCS, SOS, PM and APC with all that they hold; a character set; any other sequence of two.
_SEQUENCE = re.compile(
    r"\x1b\[([0-?]*)[ -/]*([@-~])|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)|\x1b[ -/]+[0-~]|\x1b[0-~]?"
)
_COLORS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_ON = {1: Style(bold=True), 2: Style(dim=True), 3: Style(italic=True), 4: Style(underline=True), 7: Style(reverse=True)}
_OFF = {
    22: Style(bold=False, dim=False), 23: Style(italic=False), 24: Style(underline=False), 27: Style(reverse=False),
    39: Style(color="default"), 49: Style(bgcolor="default"),
}  # fmt: skip

Line = list[Segment]


class LogText:
    """Takes the output line by line; a colour lasts until it is changed. Mutable."""

    def __init__(self) -> None:
        self._style = Style.null()

    def unfinished(self, data: bytes) -> Line:
        """As `line`, of one that may go on."""
        style = self._style
        line = self.line(data)
        self._style = style
        return line

    def line(self, data: bytes) -> Line:
        """What is to be seen of a line in the end: after a carriage return, what was written over it."""
        text = data.decode(errors="replace")
        if text.isprintable():
            return [Segment(text[:LONGEST], self._style), *_cut(text)]
        text = text.rstrip("\r")
        found: Line = []
        length = 0
        for part, style in self._parts(text):
            if "\r" in part:
                found, length = [], 0
            shown = _visible(part.rpartition("\r")[2], length)
            if shown and length < LONGEST:
                found.append(Segment(shown[: LONGEST - length], style))
            length += len(shown)
        return [*found, *([Segment("+")] if length > LONGEST else [])]

    def _parts(self, text: str) -> Iterator[tuple[str, Style]]:
        place = 0
        for match in _SEQUENCE.finditer(text):
            if match.start() > place:
                yield text[place : match.start()], self._style
            place = match.end()
            if match[2] == "m":
                self._style = _changed(self._style, match[1])
        if place < len(text):
            yield text[place:], self._style


def _cut(text: str) -> Line:
    return [Segment("+")] if len(text) > LONGEST else []


def _visible(text: str, column: int) -> str:
    """Text without what does not print: tabs as blanks, other characters as escapes, a bell and a backspace not at
    all.
    """
    if text.isprintable():
        return text
    shown: list[str] = []
    for letter in text:
        if letter == "\t":
            shown.append(" " * (TAB - (column + sum(map(len, shown))) % TAB))
        elif letter not in "\a\b\0\x0e\x0f":
            shown.append(render.escape(letter))
    return "".join(shown)


def _changed(style: Style, text: str) -> Style:
    """`style` after the parameters of an SGR sequence (ECMA-48); what is not understood changes nothing."""
    words = text.replace(":", ";").split(";")
    codes = [int(word or 0) for word in words if len(word) <= 3 and (not word or word.isdecimal())]
    place = 0
    while place < len(codes):
        code = codes[place]
        place += 1
        if code == 0:
            style = Style.null()
        elif code in (38, 48):
            color, place = _color(codes, place)
            if color is not None:
                style += Style(color=color) if code == 38 else Style(bgcolor=color)
        else:
            style += _ON.get(code) or _OFF.get(code) or _named(code)
    return style


def _color(codes: list[int], place: int) -> tuple[str | None, int]:
    """The colour that `5;N` or `2;R;G;B` names, and what follows."""
    if codes[place : place + 1] == [5] and len(codes) > place + 1:
        number = codes[place + 1]
        return (f"color({number})" if number < 256 else None), place + 2
    if codes[place : place + 1] == [2] and len(codes) > place + 3:
        rgb = codes[place + 1 : place + 4]
        return (f"rgb({rgb[0]},{rgb[1]},{rgb[2]})" if max(rgb) < 256 else None), place + 4
    return None, len(codes)


def _named(code: int) -> Style:
    for first, prefix in ((30, ""), (90, "bright_")):
        if first <= code < first + 8:
            return Style(color=f"{prefix}{_COLORS[code - first]}")
        if first + 10 <= code < first + 18:
            return Style(bgcolor=f"{prefix}{_COLORS[code - first - 10]}")
    return Style.null()
