"""Try notifications, and list those that could not be delivered yet.

A job asks for notifications with submit --notify-email, --notify and --notify-on; gflow.toml may ask for those of all
jobs. What cannot be delivered is tried again, with growing delays, for three days (give_up_after).

The exit status is 1 if a try fails.
"""

from __future__ import annotations

import time

from gflowctl.output import render
from gflowd import command_line
from gflowd.core.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the actions."""
    command_line.add_actions(
        parser,
        {
            "test": ("send a test, and say how it went", _configure_test),
            "list": ("list what waits to be delivered, by receiver", command_line.add_json),
        },
    )


def _configure_test(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", action="append", default=[], metavar="ADDR|URL",
                        help="whom to send it to (default: mail to you, and all receivers of gflow.toml); repeatable"
                        )  # fmt: skip


def run(args: argparse.Namespace, context: Context) -> int:
    """Does what was asked for; 1 if a test failed."""
    return _test(args, context) if args.action == "test" else _list(args, context)


def _test(args: argparse.Namespace, context: Context) -> int:
    from gflowctl.admin import notifications

    failed = False
    color = render.use_color(args.color)
    for tried in notifications.try_all(context, args.to):
        level, paint = ("FAIL", render.RED) if tried.why else ("ok  ", render.GREEN)
        by, why = f" through {tried.by}" if tried.by else "", f": {tried.why}" if tried.why else ""
        render.write(f"{render.paint(level, paint, on=color)}  {render.escape(f'{tried.receiver}{by}{why}')}\n")
        render.flush()
        failed |= bool(tried.why)
    return int(failed)


def _list(args: argparse.Namespace, context: Context) -> int:
    from gflowctl.admin import notifications
    from gflowctl.admin.checks import is_of_others

    if is_of_others(context):
        raise Refused("only root can list the notifications of all users")
    found = notifications.waiting(context)
    config = context.configuration()
    shown = {each.key: notifications.shown(each.key, config) for each in found}
    if args.json:
        render.write_json([
            {
                "receiver": shown[each.key], "waiting": each.number, "oldest": render.rfc3339(each.oldest),
                "failures": each.failures, "next_try": render.rfc3339(each.due_at) if each.due_at else None,
                "why": each.why or None, "given_up": each.dropped,
            }
            for each in found
        ])  # fmt: skip
        return 0
    if not found:
        render.note("nothing waits to be delivered")
        return 0
    columns = [
        render.Column("RECEIVER", flexible=True), render.Column("WAITING", right=True), render.Column("OLDEST"),
        render.Column("FAILURES", right=True), render.Column("NEXT TRY"), render.Column("WHY", flexible=True),
    ]  # fmt: skip
    now = time.time()
    rows = [
        (None, [
            shown[each.key], str(each.number), context.clock.near(each.oldest, now), str(each.failures),
            context.clock.near(each.due_at, now, seconds=True) if each.due_at > now else "now", each.why,
        ])
        for each in found
    ]  # fmt: skip
    wide = render.terminal_columns() if render.is_terminal() else 0
    render.write(render.table(columns, rows, color=render.use_color(args.color), columns_wide=wide))
    return 0
