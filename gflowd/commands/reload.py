"""Make the running daemon read its configuration again; no job is touched.

Options given here replace those that it was started with. The configuration is checked first; if it has an error, the
daemon is left as it is.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from gflowd.config import start_options
from gflowd.core.errors import Refused
from gflowd.daemon import instance, launch, shared_places

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    launch.add_options(parser)
    launch.add_system(parser, "reload the daemon for all users of this machine (root only)")


def run(args: argparse.Namespace) -> int:
    """0 if the daemon was told."""
    state = launch.state_of(args)
    holder = instance.when_known(state)
    if holder is None:
        others = launch.of_all_users(args, state)
        if others is not None and instance.when_known(others) is not None:
            raise Refused("no daemon of your own is running; that of all users of this machine: gflowd reload --system")
        raise Refused(_not_running(args))
    before = start_options.kept(state)
    given = launch.chosen(args)
    choice = given.over(before)
    config = launch.load_and_tell(state, choice, given)
    if state.shared is not None:
        shared_places.check_launcher(config)
    if choice != before:
        start_options.keep(state, choice)
    fd = instance.signal_daemon(state, holder, signal.SIGHUP)
    if fd is None:
        raise Refused(_not_running(args))
    os.close(fd)
    print(f"gflowd reloads its configuration (pid {holder.pid})")
    return 0


def _not_running(args: argparse.Namespace) -> str:
    start = "gflowd run --system" if launch.is_of_many(args) else "gflowd start"
    return f"the daemon is not running; {start} reads the configuration"
