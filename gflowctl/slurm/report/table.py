"""Tables as sacct, sacctmgr, sshare and sstat print them: in columns below dashes, or parsable between bars."""

from __future__ import annotations

from gflowctl.output import render
from gflowd.core.job.value_base import Value
from gflowd.core.slurm import column_forms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Final

CUT = "+"  # stands for the rest of a cell


class Field(Value):
    """A column that may be asked for: its title, how wide it is, how its cells read, and whether they stand left."""

    __slots__ = ("left", "tell", "title", "width")

    def __init__(self, title: str, width: int, tell: Callable[..., str], *, left: bool = False) -> None:
        self.title: Final = title
        self.width: Final = width
        self.tell: Final = tell
        self.left: Final = left


class Style(Value):
    """How a table is printed: `separator` of a parsable one, None for columns; `ends`: also after the last."""

    __slots__ = ("ends", "header", "separator")

    def __init__(self, *, header: bool = True, separator: str | None = None, ends: bool = False) -> None:
        self.header: Final = header
        self.separator: Final = separator
        self.ends: Final = ends


def style(options: Mapping[str, Any]) -> Style:
    """What the options of all these programs ask for."""
    header = "noheader" not in options
    parsable = [name for name in options if name in ("parsable", "parsable2")]
    if not parsable:
        return Style(header=header)
    return Style(header=header, separator=options.get("delimiter") or "|", ends=parsable[-1] == "parsable")


def chosen(text: str, fields: Mapping[str, Field]) -> list[Field]:
    """The fields that `jobid,state%20` asks for. Raises `Refused`."""
    found = []
    for name, width, left in column_forms.sized(text, list(fields)):
        field = fields[name]
        found.append(field if width is None else field.replace(width=width, left=left))
    return found


def text(columns: Sequence[Field], rows: Iterable[Sequence[str]], style: Style) -> str:
    """The table of the cells, one tuple for each line."""
    if style.separator is not None:
        titles = [[field.title for field in columns]] if style.header else []
        last = style.separator if style.ends else ""
        whole = (style.separator.join(map(render.escape, cells)) + last for cells in (*titles, *rows))
        return "".join(f"{line}\n" for line in whole)
    lines: list[str] = []
    if style.header:
        lines.append("".join([_padded(field, field.title[: field.width]) for field in columns]))
        lines.append("".join([f"{'-' * field.width} " for field in columns]))
    lines += ["".join(map(_cell, columns, cells)) for cells in rows]
    return "".join(f"{line}\n" for line in lines)


def _cell(field: Field, text: str) -> str:
    text = render.escape(text)
    if len(text) > field.width:
        text = f"{text[: max(0, field.width - 1)]}{CUT}"[: field.width]
    return _padded(field, text)


def _padded(field: Field, text: str) -> str:
    return f"{text:{'<' if field.left else '>'}{field.width}} " if field.width else f"{text} "


def names(fields: Iterable[str]) -> str:
    """What --helpformat prints: the names, four a line."""
    known = list(fields)
    lines = []
    for place in range(0, len(known), 4):
        part = known[place : place + 4]
        lines.append(" ".join(f"{name:<19}" for name in part))
    return "".join(f"{line}\n" for line in lines)
