"""Cells, bars and columns as pieces of a line. Pure."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from rich.style import Style
from textual.strip import Strip

from gflowctl.output import render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.segment import Segment

BOLD, DIM, REVERSE, NOTHING = Style(bold=True), Style(dim=True), Style(reverse=True), Style.null()
GAP = 2
_NAMES = {
    render.RED: "red", render.GREEN: "green", render.YELLOW: "yellow", render.BLUE: "blue", render.MAGENTA: "magenta",
    render.CYAN: "cyan",
}  # fmt: skip


@cache
def style(code: str) -> Style:
    """The style that is one of `render`'s colours and weights; none for any other."""
    if code in _NAMES:
        return Style(color=_NAMES[code])
    return {render.BOLD: BOLD, render.DIM: DIM}.get(code, Style.null())


def cell(text: str, wide: int, *, right: bool = False) -> str:
    """`text` in exactly `wide` columns."""
    text = render.cut(text, wide) if wide else ""
    blank = " " * (wide - render.width(text))
    return blank + text if right else text + blank


def bar(used: float, total: float, long: int) -> str:
    """`[####....]`, with `long` places."""
    filled = min(long, round(long * used / total)) if total else 0
    filled = 1 if used and not filled else filled
    return f"[{'#' * filled}{'.' * (long - filled)}]"


def fitted(wanted: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Widths of columns that fit into a line of `room`: the widest is narrowed, then those at the end are left out. One
    of no width stays so, and takes no gap.
    """
    places = [place for place, wide in enumerate(wanted) if wide]
    some = [wanted[place] for place in places]
    render.squeeze([least[place] for place in places], some, room)
    widths = [0] * len(wanted)
    for place, wide in zip(places, some, strict=True):
        widths[place] = max(0, min(wide, room))
        room -= widths[place] + GAP
    return widths


def strip(parts: Sequence[Segment], wide: int) -> Strip:
    """A line of exactly `wide` columns."""
    return Strip(parts).adjust_cell_length(wide)
