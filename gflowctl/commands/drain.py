"""Start no more jobs until gflowctl resume. Running jobs go on, and jobs can still be queued."""

from __future__ import annotations

import time

from gflowctl.machine import drain
from gflowctl.output import render
from gflowd import command_line
from gflowd.core.job.records import SETTING
from gflowd.core.request import validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from gflowctl.context import Context
    from gflowd.storage.store import Commit

    Setting = dict[str, Any] | None


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    parser.add_argument("--reason", metavar="TEXT", help="reason shown to users")
    command_line.add_json(parser, "print as a JSON object since when the machine is drained, by whom, and why")
    command_line.add_timezone(parser, command_line.SHOWS)


def run(args: argparse.Namespace, context: Context) -> int:
    """Writes the setting."""
    if args.reason is not None:
        validation.check_text(args.reason)

    def decide(commit: Commit) -> tuple[Setting, Setting, bool]:
        now = before = drain.of(commit.fold())
        changed = before is None or (args.reason is not None and before.get("reason") != args.reason)
        if changed:
            now = {"at": time.time(), "by": context.user, "reason": args.reason}
            commit.put(SETTING, drain.NAME, now)
        return before, now, changed

    before, now, changed = context.change(decide)
    if changed:
        context.ring(b"w")
    if args.json:
        render.write_json({"drained": drain.record(now)})
    elif changed:
        render.write("Drained: no job starts until gflowctl resume\n")
    if not changed and before is not None:
        render.note(f"already drained, {drain.words(before, context.clock)}")
    return 0
