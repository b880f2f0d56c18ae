"""Lines that can be scrolled in both directions: the GPUs, the details of a job, its log, the help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from gflowctl.monitor import drawing
from gflowctl.output import render

if TYPE_CHECKING:
    from collections.abc import Sequence

Line = list[Segment]


class TextPane(ScrollView, can_focus=True):
    """Lines; draws only those that are on the screen. At its end it stays there when lines are added."""

    def __init__(self, name: str) -> None:
        super().__init__(id=name)
        self.lines: Sequence[Line] = ()

    @property
    def is_at_end(self) -> bool:
        """Whether the last line is on the screen."""
        return self.scroll_offset.y >= len(self.lines) - self.size.height

    def show(self, lines: Sequence[Line], *, to_end: bool = False) -> None:
        """Other lines; `to_end`: the last of them is to be seen."""
        self.lines = lines
        self._measure()
        if to_end:
            self._scroll(None, len(lines))
        self.refresh()

    def on_resize(self) -> None:
        """There may be less to scroll."""
        self._measure()

    def _measure(self) -> None:
        wide = max((sum(render.width(part.text) for part in line) for line in self.lines), default=0)
        self.virtual_size = Size(wide, len(self.lines))

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        x, top = self.scroll_offset
        place, wide = y + top, self.size.width
        if place >= len(self.lines):
            return drawing.strip([Segment(" " * wide, drawing.NOTHING)], wide)
        return Strip(self.lines[place]).crop(x).adjust_cell_length(wide, drawing.NOTHING)

    def _scroll(self, x: float | None, y: float | None) -> None:
        self.scroll_to(x, y, animate=False, force=True, immediate=True)

    def by(self, x: int, y: int) -> None:
        """By some columns or lines."""
        offset = self.scroll_offset
        self._scroll(max(0, offset.x + x), max(0, offset.y + y))

    def page(self, by: int) -> None:
        """A page up or down."""
        self._scroll(None, max(0, self.scroll_offset.y + by * max(1, self.size.height - 1)))

    def to(self, place: int) -> None:
        """To the first line, or to the last."""
        self._scroll(None, place if place >= 0 else len(self.lines))
