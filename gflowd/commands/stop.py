"""Stop the daemon and return when it has ended. Running jobs go on and their results are kept; queued jobs wait."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gflowd.daemon import instance, launch

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Its option."""
    launch.add_system(parser, "stop the daemon for all users of this machine (root only)")


def run(args: argparse.Namespace) -> int:
    """0 once no daemon runs, i.e. at once if none ran."""
    state = launch.state_of(args)
    holder = instance.when_known(state)
    if holder is None:
        print("gflowd is not running")
        others = launch.of_all_users(args, state)
        if others is not None and instance.when_known(others) is not None:
            print("gflowd for all users of this machine: gflowd stop --system, as root", file=sys.stderr)
        return 0
    instance.stop(state, holder)
    print(f"gflowd stopped (pid {holder.pid})")
    return 0
