"""Shows something repeatedly, in place on a terminal, one after the other elsewhere."""

from __future__ import annotations

import gc
import time

from gflowctl.output import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gflowctl.context import Context

HOME = "\x1b[H"
REST_OF_LINE = "\x1b[K"
REST_OF_SCREEN = "\x1b[J"


def redraw(context: Context, show: Callable[[], str], interval: float, title: Callable[[], str]) -> None:
    """Prints `show()` every `interval` seconds until interrupted; resets `context` before each."""
    while True:
        context.forget()
        gc.collect()  # the program has switched off the automatic collection
        text = show()
        if render.is_terminal():
            lines = [f"every {interval:g} s, now {title()}", "", *text.splitlines()]
            render.write(HOME + "".join(f"{line}{REST_OF_LINE}\n" for line in lines) + REST_OF_SCREEN)
        else:
            render.write(text + "\n")
        render.flush()
        time.sleep(interval)
