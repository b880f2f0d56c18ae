"""Print the completion script for a shell, or install the scripts for all of your shells.

It completes commands, options and their values: ids of jobs and reservations, states, fields, users, projects, GPU
types and settings, as they are at that moment.

For bash: gflowctl completion bash > ~/.local/share/bash-completion/completions/gflowctl

For zsh: gflowctl completion zsh > DIR/_gflowctl, where DIR is one of the directories in fpath

For fish: gflowctl completion fish > ~/.config/fish/completions/gflowctl.fish

install writes the scripts of gflowctl and gflowd for those of bash, zsh and fish that are on the PATH, each where its
shell looks: ~/.local/share/bash-completion/completions, ~/.local/share/zsh/site-functions and
~/.config/fish/completions. zsh needs a line in ~/.zshrc, which is shown. install may be repeated, e.g. after an
upgrade. It replaces only its own files, unless --force is given. install --uninstall removes them.
"""

from __future__ import annotations

import os

from gflowctl.output import render
from gflowd.core.errors import BadUsage, SystemFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from gflowctl.context import Context

SHELLS = ("bash", "zsh", "fish")
INSTALL = "install"
PLACE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "completions")


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the argument."""
    parser.add_argument("shell", choices=(*SHELLS, INSTALL), metavar="SHELL", help="bash, zsh or fish, or install")
    parser.add_argument("--uninstall", action="store_true", help="with install: remove the scripts")
    parser.add_argument("--force", action="store_true", help="with install: replace files that are not gflow's")


def run(args: argparse.Namespace, context: Context) -> int:
    """Prints it, or installs all."""
    if args.shell == INSTALL:
        return _install(args, context.environ)
    if args.uninstall or args.force:
        raise BadUsage("--uninstall and --force go with install")
    path = os.path.join(PLACE, f"gflowctl.{args.shell}")
    try:
        with open(path, "rb") as file:
            render.write_bytes(file.read())
    except FileNotFoundError:
        raise SystemFailed(f"the completion for {args.shell} is not part of this installation ({path})") from None
    return 0


def _install(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    import gflowd
    from gflowd.effects import completion_files

    scripts = {"gflowctl": PLACE, "gflowd": os.path.join(os.path.dirname(gflowd.__file__), "completions")}
    for line in completion_files.told(scripts, environ, uninstalls=args.uninstall, force=args.force):
        render.write(f"{render.escape(line)}\n")
    return 0
