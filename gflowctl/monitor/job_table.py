"""The table of jobs. Draws only the lines that are on the screen, however many jobs there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView

from gflowctl.monitor import drawing
from gflowctl.monitor.screen_contents import GPUS, JOBID, NAME, PLACE, PROGRESS, STATE, TIME, TITLES, USER, Picture
from gflowctl.output import render
from gflowd.core.job.model import CANCELLED, ENDED_STATES, FINISHED

if TYPE_CHECKING:
    from textual.strip import Strip

    from gflowctl.monitor.screen_contents import Row

LEAST = {JOBID: 12, NAME: 8, USER: 4, PROGRESS: 8, PLACE: 10}  # columns of a cell that may be cut
RIGHT = (JOBID, GPUS, TIME)
DIMMED = (FINISHED, CANCELLED)
MARK = 1  # columns before the first


class JobTable(ScrollView, can_focus=True):
    """The jobs of a picture, one of which is under the cursor, and some perhaps marked. The cursor stays on its job
    when others come and go, also when it ends if `is_bound`; else it goes to the next.
    """

    class Moved(Message):
        """The cursor is on another job, or the jobs on the screen are others."""

    def __init__(self) -> None:
        super().__init__()
        self.picture = Picture()
        self.cursor = 0
        self.marked: set[int] = set()
        self.is_bound = False
        self._widths: list[int] = []

    @property
    def row(self) -> Row | None:
        """The row under the cursor; None if there is no row."""
        rows = self.picture.rows
        return rows[self.cursor] if self.cursor < len(rows) else None

    @property
    def chosen(self) -> list[Row]:
        """The marked rows; without any, that under the cursor."""
        places = sorted(self.picture.places[job_id] for job_id in self.marked if job_id in self.picture.places)
        if places:
            return [self.picture.rows[place] for place in places]
        return [] if self.row is None else [self.row]

    def show(self, picture: Picture) -> None:
        """Another picture."""
        row, before = self.row, self.picture
        self.picture = picture
        self.marked &= picture.places.keys()
        if row is not None:
            place = picture.places.get(row.job.id)
            is_over = row.state not in ENDED_STATES and place is not None and _has_ended(picture, place)
            leaves = place is None or (is_over and not self.is_bound)
            self.cursor = self._after(row, before) if leaves or place is None else place
        self.cursor = max(0, min(self.cursor, len(picture.rows) - 1))
        self._fit()
        if self.virtual_size.height != len(picture.rows):
            self.virtual_size = Size(self.size.width, len(picture.rows))
        self._into_sight()
        self.refresh()
        self.post_message(self.Moved())

    def _after(self, gone: Row, before: Picture) -> int:
        """Where the cursor goes if its job is gone or over: to the next that is neither."""
        begin, places = before.places.get(gone.job.id, 0), self.picture.places
        later = (places[row.job.id] for row in before.rows[begin:] if row.job.id in places)
        return next((place for place in later if not _has_ended(self.picture, place)), begin)

    def on_resize(self) -> None:
        """The columns get other widths."""
        self._fit()
        self.virtual_size = Size(self.size.width, len(self.picture.rows))
        self._into_sight()
        self.post_message(self.Moved())

    def _fit(self) -> None:
        wanted = list(self.picture.widths)
        room = self.scrollable_content_region.width - MARK
        least = [min(wide, LEAST.get(place, wide)) for place, wide in enumerate(wanted)]
        self._widths = drawing.fitted(wanted, least, room)

    @property
    def titles(self) -> str:
        """The line above the table."""
        parts = [drawing.cell(title, wide, right=place in RIGHT) for place, (title, wide) in self._columns()]
        return " " * MARK + (" " * drawing.GAP).join(parts)

    def _columns(self) -> list[tuple[int, tuple[str, int]]]:
        return [each for each in enumerate(zip(TITLES, self._widths or map(len, TITLES), strict=True)) if each[1][1]]

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        place = y + self.scroll_offset.y
        wide = self.size.width
        if place >= len(self.picture.rows):
            return drawing.strip([Segment(" " * wide, drawing.NOTHING)], wide)
        row = self.picture.rows[place]
        return drawing.strip(self._parts(row, is_cursor=place == self.cursor), wide)

    def _parts(self, row: Row, *, is_cursor: bool) -> list[Segment]:
        base = drawing.REVERSE if is_cursor else drawing.DIM if row.state in DIMMED else drawing.NOTHING
        parts = [Segment("*" if row.job.id in self.marked else " ", base + drawing.BOLD)]
        for place, (_, wide) in self._columns():
            style = base
            if place == STATE and not is_cursor:
                style = base + drawing.style(render.STATE_COLORS[row.state])
            if place:
                parts.append(Segment(" " * drawing.GAP, base))
            parts.append(Segment(drawing.cell(row.cells[place], wide, right=place in RIGHT), style))
        used = MARK + sum(wide for _, (_, wide) in self._columns()) + drawing.GAP * (len(self._columns()) - 1)
        return [*parts, Segment(" " * max(0, self.size.width - used), base)]

    def _into_sight(self) -> None:
        """Scrolls as little as it takes to see the cursor."""
        height, top = max(1, self.size.height), round(self.scroll_offset.y)
        wanted = min(max(top, self.cursor - height + 1), self.cursor)
        if wanted != top:
            self.scroll_to(y=wanted, animate=False, force=True, immediate=True)

    def _go(self, place: int) -> None:
        place = max(0, min(place, len(self.picture.rows) - 1))
        if place != self.cursor:
            self.cursor = place
            self._into_sight()
            self.refresh()
            self.post_message(self.Moved())

    def by(self, _x: int, y: int) -> None:
        """Some lines down or, below 0, up."""
        self._go(self.cursor + y)

    def page(self, by: int) -> None:
        """A page up or down."""
        self._go(self.cursor + by * max(1, self.size.height - 1))

    def to(self, place: int) -> None:
        """To the first job, or to the last."""
        self._go(place if place >= 0 else len(self.picture.rows) - 1)

    def mark(self) -> None:
        """Marks the job under the cursor, or no longer, and goes to the next."""
        if self.row is not None:
            self.marked ^= {self.row.job.id}
            self.refresh()
            self.post_message(self.Moved())
            self._go(self.cursor + 1)

    def unmark(self) -> None:
        """Marks none."""
        self.marked.clear()
        self.refresh()
        self.post_message(self.Moved())


def _has_ended(picture: Picture, place: int) -> bool:
    return picture.rows[place].state in ENDED_STATES
