"""Serve gflow to an agent: an MCP server (Model Context Protocol) on standard input and output, until that ends.

An agent's program starts it; it acts as you, with your queue. Its tools list and show jobs, read the end of their
output, say why one waits or failed, and show GPUs, reservations and how long the line is. To submit or cancel takes two
calls: a preview, whose token is good for exactly what it shows, for ten minutes; then the act. hold and release change
jobs at once. Names, commands and output of jobs are marked as untrusted data.

It needs the package mcp: gflow[mcp]. See docs/agents.md.
"""

from __future__ import annotations

from gflowd.core.errors import SystemFailed
from gflowd.effects import installer

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """It has no options of its own."""


def run(args: argparse.Namespace, context: Context) -> int:  # noqa: ARG001 -- every command has both
    """Serves until standard input ends."""
    try:
        from gflowctl.agents import server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "mcp_types", "pydantic"):
            raise
        raise SystemFailed(installer.extra("mcp", "gflowctl mcp")) from None  # noqa: S610 -- no Django
    import gc

    from gflowctl.api import Queue

    gc.enable()  # it may live for days
    with Queue(context.state_given, context.config_given, context.environ, daemon=context.daemon_given) as queue:
        try:
            server.server(queue).run("stdio")
        except* BrokenPipeError:  # the agent's program has ended before its input did
            pass
    return 0
