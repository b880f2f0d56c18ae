"""Serve the queue as a page for a browser: jobs with their output, GPUs, reservations and statistics, live.

The address is printed, with a token that lets a browser in; it is exchanged for a cookie at the first visit. Whoever
has the token can read the output of all jobs of this queue, and cancel, hold, release and redo them as the user who
started this. The page listens on this machine only, unless --listen says otherwise; from another machine, use a tunnel
of ssh.

It reads what gflowctl queue reads, so it works while gflowd is not running, and says so. Without JavaScript, reload it
for news. Ctrl-C ends it.

It needs the packages of gflow[web]: starlette, uvicorn and jinja2.
"""

from __future__ import annotations

from gflowd import command_line
from gflowd.core.errors import SystemFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context

LISTEN = "127.0.0.1:8421"


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    parser.add_argument(
        "--listen",
        metavar="ADDRESS",
        default=LISTEN,
        help=f"listen there: HOST:PORT, with port 0 on any free one, or unix:PATH (default: {LISTEN})",
    )
    parser.add_argument(
        "--name",
        action="append",
        metavar="HOST",
        default=[],
        help="answer under this host name too, e.g. that of a proxy or a VPN (repeatable)",
    )
    command_line.add_timezone(parser, command_line.SHOWS)


def run(args: argparse.Namespace, context: Context) -> int:
    """Serves it until it is interrupted."""
    from gflowctl.web import address

    address.parse(args.listen)
    for name in args.name:
        address.check_name(name)
    try:
        from gflowctl.web import server
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("gflow"):
            raise
        from gflowd.effects import installer

        raise SystemFailed(installer.extra("web", "gflowctl web")) from None  # noqa: S610 -- no Django

    import gc

    gc.enable()  # it may live for days
    server.serve(context, args.listen, args.name)
    return 0
