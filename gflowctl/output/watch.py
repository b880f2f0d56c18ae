"""Shows something repeatedly, in place on a terminal, one after the other elsewhere."""

from __future__ import annotations

import gc
import os
import re
import time

from gflowctl.output import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gflowctl.context import Context

NOW = "%H:%M:%S"
HOME = "\x1b[H"
REST_OF_LINE = "\x1b[K"
REST_OF_SCREEN = "\x1b[J"
_COLOR = re.compile(r"(\x1b\[[0-9;]*m)")


def redraw(context: Context, show: Callable[[], tuple[str, str]], interval: float) -> None:
    """Prints what `show` makes, a text and a line about it, every `interval` seconds until interrupted; resets
    `context` before each. On a terminal the line is above the text, which is cut where the screen ends.
    """
    while True:
        context.forget()
        gc.collect()  # the program has switched off the automatic collection
        text, about = show()
        if render.is_terminal():
            columns, rows = _size()
            when = context.clock.show(time.time(), NOW)
            head = [f"every {interval:g} s, now {when}", *([about] if about else []), ""]
            lines = [clipped(line, columns) for line in fitted([*head, *text.splitlines()], rows - 1)]
            render.write(HOME + "".join(f"{line}{REST_OF_LINE}\n" for line in lines) + REST_OF_SCREEN)
        else:
            render.write(text + "\n")
        render.flush()
        time.sleep(interval)


def _size() -> tuple[int, int]:
    """The terminal's columns and rows; many where it does not say."""
    try:
        columns, rows = os.get_terminal_size(1)
    except OSError:
        columns = rows = 0
    return columns or 1 << 20, rows or 1 << 20


def fitted(lines: list[str], rows: int) -> list[str]:
    """The first lines, and how many more there are if they do not fit into `rows`."""
    if len(lines) <= rows:
        return lines
    kept = lines[: max(0, rows - 1)]
    return [*kept, f"... {len(lines) - len(kept)} more lines"]


def clipped(line: str, columns: int) -> str:
    """A line, perhaps with colours, in at most `columns`: a terminal would break it and scroll."""
    if len(line) <= columns and line.isascii():
        return line
    return "".join(_within(_COLOR.split(line), columns))


def _within(parts: Iterable[str], columns: int) -> Iterable[str]:
    for part in parts:
        if _COLOR.fullmatch(part):
            yield part
            continue
        while render.width(part) > columns:
            part = part[:-1]  # noqa: PLW2901 -- it is what is left of it
        columns -= render.width(part)
        yield part
