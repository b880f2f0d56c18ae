"""Print the completion script for a shell, or install the scripts for all of your shells.

For bash: gflowd completion bash > ~/.local/share/bash-completion/completions/gflowd

For zsh: gflowd completion zsh > DIR/_gflowd, where DIR is one of the directories in fpath

For fish: gflowd completion fish > ~/.config/fish/completions/gflowd.fish

install writes the scripts for those of bash, zsh and fish that are on the PATH, each where its shell looks:
~/.local/share/bash-completion/completions, ~/.local/share/zsh/site-functions and ~/.config/fish/completions. zsh needs
a line in ~/.zshrc, which is shown. install may be repeated, e.g. after an upgrade. It replaces only its own files,
unless --force is given. install --uninstall removes them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import gflowd
from gflowd.core.errors import BadUsage, SystemFailed

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

INSTALL = "install"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its argument."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish", INSTALL), help="the shell to complete in, or install")
    parser.add_argument("--uninstall", action="store_true", help="with install: remove the scripts")
    parser.add_argument("--force", action="store_true", help="with install: replace files that are not gflow's")


def run(args: argparse.Namespace) -> int:
    """0 when done."""
    place = os.path.join(os.path.dirname(gflowd.__file__), "completions")
    if args.shell == INSTALL:
        return _install({"gflowd": place}, args)
    if args.uninstall or args.force:
        raise BadUsage("--uninstall and --force go with install")
    path = os.path.join(place, f"gflowd.{args.shell}")
    try:
        with open(path, encoding="utf-8") as file:
            print(file.read(), end="")
    except OSError as error:
        raise SystemFailed(f"{path}: {error.strerror}; this installation of gflow is incomplete") from None
    return 0


def _install(scripts: Mapping[str, str], args: argparse.Namespace) -> int:
    from gflowd.effects import completion_files

    for line in completion_files.told(scripts, os.environ, uninstalls=args.uninstall, force=args.force):
        print(line)
    return 0
