"""Start the daemon in the background and return when it is ready.

Jobs that were queued while it was down are started; jobs that kept running without it are found again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowd.daemon import launch

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    launch.add_options(parser)
    launch.add_adopt(parser)


def run(args: argparse.Namespace) -> int:
    """0 when the daemon is ready."""
    state = launch.prepared(args, detached=True)
    choice = launch.chosen(args)
    launch.load_and_tell(state, choice, choice)
    return launch.start(state, choice, adopt=args.adopt)
