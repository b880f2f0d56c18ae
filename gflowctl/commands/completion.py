"""Print the completion script for a shell.

It completes commands, options and their values: ids of jobs and reservations, states, fields, users, projects, GPU
types and settings, as they are at that moment.

For bash: gflowctl completion bash > ~/.local/share/bash-completion/completions/gflowctl

For zsh: gflowctl completion zsh > DIR/_gflowctl, where DIR is one of the directories in fpath

For fish: gflowctl completion fish > ~/.config/fish/completions/gflowctl.fish
"""

from __future__ import annotations

import os

from gflowctl.output import render
from gflowd.core.errors import SystemFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context

SHELLS = ("bash", "zsh", "fish")
PLACE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "completions")


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the argument."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")


def run(args: argparse.Namespace, _context: Context) -> int:
    """Prints it."""
    path = os.path.join(PLACE, f"gflowctl.{args.shell}")
    try:
        with open(path, "rb") as file:
            render.write_bytes(file.read())
    except FileNotFoundError:
        raise SystemFailed(f"the completion for {args.shell} is not part of this installation ({path})") from None
    return 0
