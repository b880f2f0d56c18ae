"""Set how many jobs of an array or sweep may run at a time. Jobs that are already running go on."""

from __future__ import annotations

from gflowctl.output import render
from gflowctl.view import arrays, roles, views
from gflowd import command_line
from gflowd.core.errors import Refused
from gflowd.core.job.records import LIMIT
from gflowd.storage.record_log import Fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context
    from gflowd.storage.store import Commit


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the arguments."""
    parser.add_argument("group", metavar="GROUP", help="the array or sweep, by id (42, @, @~2) or name")
    parser.add_argument("most", type=command_line.count, metavar="N", help="how many at a time, at least 1")
    command_line.add_json(parser, "print the array's id and its limit as a JSON object")


def run(args: argparse.Namespace, context: Context) -> int:
    """Writes the limit."""
    if args.most < 1:
        raise Refused("with a limit of 0, nothing would run; gflowctl hold keeps jobs from starting")
    if not context.state.has_snapshot():
        arrays.the_one(views.View(context, Fold()), args.group)

    def decide(commit: Commit) -> tuple[int, bool]:
        view = views.View(context, commit.fold())
        array_id = arrays.the_one(view, args.group)
        try:
            roles.check(view, array_id)
            view.check_changeable(array_id)
        except Refused as error:
            raise Refused(f"job {array_id} {error}") from None
        changed = view.max_concurrent(view.job(array_id)) != args.most
        if changed:
            commit.put(LIMIT, array_id, {"max_concurrent": args.most})
        return array_id, changed

    array_id, changed = context.change(decide)
    if changed:
        context.ring(b"w")
    if args.json:
        render.write_json({"array_id": array_id, "max_concurrent": args.most})
    elif changed:
        render.write(f"Limited job {array_id} to {args.most} at a time\n")
    if not changed:
        render.note(f"job {array_id} is already limited to {args.most} at a time")
    return 0
