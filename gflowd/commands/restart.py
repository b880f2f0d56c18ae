"""Stop the daemon, if it runs, and start it in the background with the options that it had, or with those given here.

Jobs go on. The configuration is checked first; if it has an error, nothing is stopped.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gflowd.config import start_options
from gflowd.core.errors import Refused
from gflowd.daemon import instance, launch

if TYPE_CHECKING:
    import argparse

    from gflowd.effects.daemon import Daemon


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    launch.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """0 when the new daemon is ready."""
    state = launch.prepared(args, detached=True)
    given = launch.chosen(args)
    choice = given.over(start_options.kept(state))
    launch.load_and_tell(state, choice, given)
    holder = instance.when_known(state)
    if holder is not None:
        _check_ours_to_restart(holder)
        instance.stop(state, holder)
        print(f"gflowd stopped (pid {holder.pid})", flush=True)
    elif os.geteuid() == 0 and (others := launch.of_all_users(args, state)) is not None:
        raise Refused(
            "root has no daemon of its own that runs; that of all users of this machine: "
            f"{_restart_of(instance.when_known(others))}"
        )
    return launch.start(state, choice, adopt=False)


def _restart_of(holder: Daemon | None) -> str:
    return "gflowd run --system" if holder is None else holder.restart


def _check_ours_to_restart(holder: Daemon) -> None:
    """A daemon in the foreground or under a service manager is not ours to restart: it would be missed, or started
    twice.
    """
    if holder.hosting == "systemd":
        raise Refused(f"the daemon ({holder}) is a systemd service: {holder.restart}")
    if holder.hosting == "foreground":
        raise Refused(f"the daemon ({holder}) runs in the foreground; end it there and run it again")
