"""The page of keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.screen import Screen

from gflowctl.monitor import drawing
from gflowctl.monitor.text_pane import TextPane
from gflowctl.output import render

if TYPE_CHECKING:
    from textual.app import ComposeResult

FILTER = (
    "filter: options of gflowctl queue (-s running,PD -u USER -n NAME -P PROJECT --me -a -c), and words that are "
    "searched for in all that is shown of a job and in its command"
)
KEYS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Move",
        (
            ("up, down, j, k", "one line"),
            ("Page Up, Page Down", "one page; also Ctrl-B, Ctrl-F"),
            ("Home, End, g, G", "to the first, to the last"),
            ("left, right", "in details and logs: along long lines"),
            ("Tab", "between the GPUs, the jobs, and details or log"),
        ),
    ),
    (
        "Look",
        (
            ("l", "the log of the job, followed as it grows"),
            ("d", "details of the job, as gflowctl show has them"),
            ("Enter", "the log over the whole screen; z does that for either"),
            ("Esc", "back: the whole screen, then details or log, then the filter"),
            ("p", "hide the GPUs, or show them"),
            ("/", FILTER),
            ("s", "sort by fields of gflowctl queue, e.g. USER,-TIME"),
            ("S", "sort the other way round"),
        ),
    ),
    (
        "Act, on the job under the cursor or on those marked; each asks first",
        (
            ("Space, u", "mark the job, or no longer; unmark all"),
            ("c", "cancel"),
            ("h, r", "hold, release"),
            ("R", "redo: queue a new job like it"),
            ("a", "attach: open the job's terminal; Ctrl-b d comes back"),
        ),
    ),
    ("Leave", (("q, Ctrl-C", "quit; no job is touched by it"), ("Ctrl-Z", "suspend; fg comes back"))),
)
WIDE = 20  # columns of the keys


def lines(wide: int) -> list[list[Segment]]:
    """The page, for a screen of `wide` columns."""
    found: list[list[Segment]] = []
    for title, keys in KEYS:
        found += [[Segment(line, drawing.BOLD)] for line in render.paragraph(title, wide)]
        for key, what in keys:
            first, *more = render.paragraph(what, max(10, wide - WIDE - 3))
            found.append([Segment(f"  {key:<{WIDE}}", drawing.BOLD), Segment(first)])
            found += [[Segment(" " * (WIDE + 2) + line)] for line in more]
        found.append([])
    return found[:-1]


class Help(Screen[None]):
    """Shows it."""

    def compose(self) -> ComposeResult:
        """The page, and nothing else."""
        yield TextPane("keys")

    def on_mount(self) -> None:
        """The keys scroll."""
        self.set_focus(self.query_one(TextPane))

    def on_resize(self) -> None:
        """Fills it."""
        self.query_one(TextPane).show(lines(self.app.size.width - 1))
