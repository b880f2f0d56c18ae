"""Run the daemon in the foreground until it is told to end (SIGTERM or Ctrl-C); its log goes to stderr too.

This is what a service manager calls: the daemon tells systemd when it is ready and feeds its watchdog. SIGHUP makes it
read the configuration again. Jobs go on when the daemon ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowd.daemon import daemonize, instance, launch

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    launch.add_options(parser)
    launch.add_adopt(parser)


def run(args: argparse.Namespace) -> int:
    """The daemon's own exit status."""
    state = launch.prepared(args, detached=False)
    choice = launch.chosen(args)
    launch.load_and_tell(state, choice, choice)
    daemonize.settle()
    return launch.serve(state, choice, how=instance.foreground_hosting(), adopt=args.adopt, ready=lambda: None)
