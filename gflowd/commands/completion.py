"""Print the completion script for a shell.

For bash: gflowd completion bash > ~/.local/share/bash-completion/completions/gflowd

For zsh: gflowd completion zsh > DIR/_gflowd, where DIR is one of the directories in fpath

For fish: gflowd completion fish > ~/.config/fish/completions/gflowd.fish
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import gflowd
from gflowd.core.errors import SystemFailed

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Its argument."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell to complete in")


def run(args: argparse.Namespace) -> int:
    """0 when printed."""
    path = os.path.join(os.path.dirname(gflowd.__file__), "completions", f"gflowd.{args.shell}")
    try:
        with open(path, encoding="utf-8") as file:
            print(file.read(), end="")
    except OSError as error:
        raise SystemFailed(f"{path}: {error.strerror}; this installation of gflow is incomplete") from None
    return 0
