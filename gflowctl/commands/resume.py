"""Let jobs start again after gflowctl drain."""

from __future__ import annotations

from gflowctl.machine import drain
from gflowctl.output import render
from gflowd import command_line
from gflowd.core.job.records import SETTING

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from gflowctl.context import Context
    from gflowd.storage.store import Commit


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the option."""
    command_line.add_json(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Removes the setting."""

    def decide(commit: Commit) -> dict[str, Any] | None:
        before = drain.of(commit.fold())
        if before is not None:
            commit.put(SETTING, drain.NAME, None)
        return before

    before = context.change(decide) if context.state.has_snapshot() else None
    if args.json:
        render.write_json({"drained": None})
    if before is None:
        render.note("not drained; nothing to resume")
        return 0
    context.ring(b"w")
    if not args.json:
        render.write("Resumed: jobs start again\n")
    return 0
