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
from gflowd.daemon import instance, launch

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    launch.add_options(parser)
    launch.add_system(parser, "of the daemon for all users of this machine (root only)")


def run(args: argparse.Namespace) -> int:
    """0 if the daemon was told."""
    state = launch.state_of(args)
    holder = instance.when_known(state)
    if holder is None:
        raise Refused("the daemon is not running; gflowd start reads the configuration")
    before = start_options.kept(state)
    given = launch.chosen(args)
    choice = given.over(before)
    launch.load_and_tell(state, choice, given)
    if choice != before:
        start_options.keep(state, choice)
    fd = instance.signal_daemon(state, holder, signal.SIGHUP)
    if fd is None:
        raise Refused("the daemon has just ended; gflowd start reads the configuration")
    os.close(fd)
    print(f"gflowd reloads its configuration (pid {holder.pid})")
    return 0
