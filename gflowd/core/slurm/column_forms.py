"""The columns that users of Slurm's programs ask for, of squeue and sinfo as of sacct: what they are, how wide, and how
a cell stands in one. Knows no column.
"""

from __future__ import annotations

import re

from gflowd.core.errors import Refused
from gflowd.core.job.value_base import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Final

WIDTH = 20  # of a column of --Format that says none
LONGEST = 65536  # characters of a column
_SHORT = r"(?s)%(\.?)([0-9]*)(.?)"  # compiled at their use: a program needs one of them
_LONG = r"(?s)(\.?)([0-9]*)(.*)"
_SIZED = r"(?s)([^%]*)(?:%(-?)([0-9]*).*)?"


class Cell(Value):
    """One column: `width` 0 is as wide as its content; one `right` stands at the right; `suffix` follows it. What is
    longer than its column is cut, unless it is `whole`.
    """

    __slots__ = ("name", "right", "suffix", "whole", "width")

    def __init__(
        self, name: str, width: int = 0, *, right: bool = False, suffix: str = "", whole: bool = False
    ) -> None:
        self.name: Final = name
        self.width: Final = width
        self.right: Final = right
        self.suffix: Final = suffix
        self.whole: Final = whole

    @property
    def template(self) -> str:
        """For the operator `%`, which is the quickest way to format many lines."""
        size = f"{'' if self.right else '-'}{self.width}" if self.width else ""
        if self.width and not self.whole:
            size += f".{self.width}"
        return f"%{size}s{self.suffix.replace('%', '%%')}"


class Form(Value):
    """A line: `before` its columns, these, and the names that mean nothing."""

    __slots__ = ("before", "cells", "unknown")

    def __init__(self, before: str, cells: Sequence[Cell], unknown: Sequence[str]) -> None:
        self.before: Final = before
        self.cells: Final = cells
        self.unknown: Final = unknown

    @property
    def template(self) -> str:
        """A line, without its end, as a template for a tuple of the cells' texts."""
        return self.before.replace("%", "%%") + "".join([cell.template for cell in self.cells])

    @property
    def header(self) -> str:
        """As `template`, for the titles, which are cut in any column."""
        return self.replace(cells=[cell.replace(whole=False) for cell in self.cells]).template


def short(text: str, known: Collection[str], durations: Collection[str] = ()) -> Form:
    """What `--format=%.18i %j` asks for, of the letters that are known; others stay in the line as they are. Slurm does
    not cut `durations` that stand at the right.
    """
    parts: list[Cell] = []
    before, unknown = "", []
    place = 0

    def more(literal: str) -> None:
        nonlocal before
        if parts:
            last = parts[-1]
            parts[-1] = last.replace(suffix=last.suffix + literal)
        else:
            before += literal

    for match in re.finditer(_SHORT, text):
        more(text[place : match.start()])
        place = match.end()
        dot, width, letter = match.groups()
        if letter and letter in known:
            parts.append(Cell(letter, _width(width), right=bool(dot), whole=bool(dot) and letter in durations))
        elif match[0] == "%%":
            more("%")
        elif match[0] != "%":
            unknown.append(letter)
            more(match[0])
    more(text[place:])
    return Form(before, tuple(parts), tuple(unknown))


def long(text: str, known: Collection[str], durations: Collection[str] = ()) -> Form:
    """What `--Format=jobid:.10,name` asks for, of the names, in small letters, that are known; as `short`."""
    parts: list[Cell] = []
    unknown = []
    for word in text.split(","):
        name, colon, rest = word.strip().partition(":")
        if name.lower() not in known:
            unknown += [name] if name else []
            continue
        match = re.fullmatch(_LONG, rest)
        assert match is not None  # it matches anything
        width = _width(match[2]) if colon else WIDTH
        right, name = bool(match[1]), name.lower()
        parts.append(Cell(name, width, right=right, suffix=match[3], whole=right and name in durations))
    return Form("", tuple(parts), tuple(unknown))


def sized(text: str, known: Sequence[str]) -> list[tuple[str, int | None, bool]]:
    """What `jobid,state%20,name%-30` asks for: names as they are `known`, of which a beginning is enough, the width if
    one is given, and whether the column stands at the left. Raises `Refused`.
    """
    found = []
    for word in text.split(","):
        match = re.fullmatch(_SIZED, word.strip())
        assert match is not None  # it matches anything
        if not match[1]:
            continue
        given = match[1].lower()
        begun = [name for name in known if name.lower().startswith(given)]
        exact = [name for name in begun if name.lower() == given]
        if not begun:
            raise Refused(f'Invalid field requested: "{match[1]}"')
        found.append(((exact or begun)[0], None if match[3] is None else _width(match[3]), match[2] == "-"))
    return found


def _width(digits: str) -> int:
    return min(int(digits[:6] or 0), LONGEST)
