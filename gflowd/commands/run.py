"""Run the daemon in the foreground until it is told to end (SIGTERM or Ctrl-C); its log goes to stderr too.

This is what a service manager calls: the daemon tells systemd when it is ready and feeds its watchdog. SIGHUP makes it
read the configuration again. Jobs go on when the daemon ends.

With --system, which only root can give, it runs the jobs of all users of this machine, each as the user that submitted
it: its state is in /var/lib/gflow, its configuration in /etc/gflow/gflow.toml, and users reach it through its gateway.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gflowd.daemon import daemonize, instance, launch, shared_places

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    launch.add_options(parser)
    launch.add_adopt(parser)
    launch.add_system(parser, "run the jobs of all users of this machine (root only)")


def run(args: argparse.Namespace) -> int:
    """The daemon's own exit status."""
    choice = launch.chosen(args)
    if args.system:
        instance.cleanse(os.environ, detached=False)
        state = shared_places.prepared(launch.state_of(args), choice.load())
    else:
        state = launch.prepared(args, detached=False)
    launch.load_and_tell(state, choice, choice)
    daemonize.settle()
    return launch.serve(state, choice, how=instance.foreground_hosting(), adopt=args.adopt, ready=lambda: None)
