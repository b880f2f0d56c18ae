"""The terminal of the screen: whether it is one, and that it is as it was when the screen is left, however that is."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING

from gflowd.core.errors import BadUsage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gflowctl.context import Context
    from gflowctl.monitor.job_filter import Choice

INSTEAD = "gflowctl queue --watch does not"
SIGNALLED = 128


def check(environ: Mapping[str, str]) -> None:
    """Raises `BadUsage` where no screen can be drawn."""
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise BadUsage(f"monitor needs a terminal for input and output; {INSTEAD}")
    kind = environ.get("TERM", "")
    if kind in ("", "dumb", "unknown"):
        raise BadUsage(f"monitor needs more than a terminal with TERM={kind}; {INSTEAD}")


def run(context: Context, choice: Choice, sort: str, *, color: bool) -> int:
    """Shows the screen until it is left; returns the exit status."""
    for name in ("COLUMNS", "LINES"):  # they say how large it was once
        os.environ.pop(name, None)
    os.environ.pop("NO_COLOR", None)  # by which Textual decides, also if it is empty
    if not color:
        os.environ["NO_COLOR"] = "1"
    gc.enable()  # the program has switched it off for its short commands
    if context.environ.get("TERM") == "linux":
        os.environ.setdefault("TEXTUAL_DISABLE_KITTY_KEY", "1")  # which the console writes on the screen
    from gflowctl.api import Queue
    from gflowctl.monitor.feed import Wanted
    from gflowctl.monitor.job_actions import ByApi
    from gflowctl.monitor.screen import Monitor

    signal.signal(signal.SIGHUP, _vanish)
    queue = Queue(context.state_given, context.config_given, context.environ, daemon=context.daemon_given)
    app = Monitor(context, Wanted(choice, sort), ByApi(queue))
    app.run(mouse=False)
    if app.failure is not None:
        raise app.failure
    return SIGNALLED + app.signal if app.signal else 0


def _vanish(number: int, _frame: object) -> None:
    """There is no terminal any more, so nothing to restore."""
    os._exit(SIGNALLED + number)
