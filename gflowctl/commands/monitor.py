"""Show jobs and GPUs on the whole screen, live: scroll, filter, sort, follow a log, change jobs.

Press ? for the keys. A job is changed only after a question, as by gflowctl cancel, hold, release and redo. WORDs and
the options choose the jobs that are listed at first; a WORD is searched for in all that is shown of a job and in its
command. Jobs that have ended stay at the end for ten minutes, with --all until they move to the history. The screen
works without gflowd, and says so.

The screen uses the colours of the terminal, and none if NO_COLOR is set. It leaves the mouse to the terminal, so text
can be selected as usual. It needs the package textual (gflow[tui]). gflowctl queue --watch and info --watch do not, and
their output can be redirected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowctl.output import render
from gflowd import command_line
from gflowd.core.errors import SystemFailed
from gflowd.effects import installer

if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    from gflowctl.monitor import job_filter

    if isinstance(parser, command_line.Parser):
        parser.dashed = ("--sort",)
    parser.add_argument("words", nargs="*", metavar="WORD", help="only jobs in which these are found")
    job_filter.configure(parser.add_argument_group("which jobs"))
    parser.add_argument(
        "--sort",
        metavar="FIELD[,-FIELD]",
        help="sort by these fields of gflowctl queue; prefix with - for descending order",
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Shows it until it is left."""
    from gflowctl.monitor import job_filter, terminal

    chosen = job_filter.of(args, args.words, context.user)
    sort = job_filter.SORTED if args.sort is None else job_filter.sorting(args.sort)
    terminal.check(context.environ)
    try:
        import textual  # noqa: F401 -- only whether it is there
    except ImportError:
        raise SystemFailed(installer.extra("tui", "gflowctl monitor")) from None  # noqa: S610 -- no SQL
    return terminal.run(context, chosen, sort, color=render.use_color(args.color))
