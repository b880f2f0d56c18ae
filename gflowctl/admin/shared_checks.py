"""What `gflowctl doctor` checks of a daemon for all users: who may write where, how it starts jobs, its gateway."""

from __future__ import annotations

import grp
import os
import stat

from gflowctl.admin.checks import FAIL, OK, WARN, Finding
from gflowd import paths
from gflowd.effects.gateway import presence
from gflowd.effects.kernel import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowctl.admin.checks import Check
    from gflowctl.context import Context
    from gflowd.config.loader import Config
    from gflowd.paths import State

HARDLINKS = "/proc/sys/fs/protected_hardlinks"
PAM = "/etc/pam.d"
CLOSED = 0o600


def places(context: Context) -> Iterator[Finding]:
    """Users pass through what is theirs to pass through, and nobody but root writes what tells of all jobs."""
    shared = context.state.shared
    if shared is None:
        return
    good = True
    for path, mode in _modes(context.state):
        try:
            found = os.lstat(path)
        except OSError:  # not made yet, or not ours to see
            continue
        if stat.S_ISLNK(found.st_mode) or found.st_uid != 0:
            good = False
            yield Finding(FAIL, f"{path} is not root's own (user {found.st_uid})", "move it away, and restart gflowd")
        elif stat.S_IMODE(found.st_mode) & 0o777 != mode:
            good = False
            yield Finding(FAIL, f"{path} has mode {stat.S_IMODE(found.st_mode):o}", f"chmod {mode:o} {path}")
    run = os.path.dirname(shared.gate)
    for path in (context.state.root, shared.spool, run, context.config_path):
        paths.check_trusted(path)
    if good:
        yield Finding(OK, f"nothing of users is in {context.state.root} and {run}, but all of it in {shared.spool}")


def _modes(state: State) -> Iterator[tuple[str, int]]:
    """What there may be of root's, with the mode that it is to have."""
    shared = state.shared
    assert shared is not None
    run = os.path.dirname(shared.gate)
    yield from ((path, paths.PASSABLE) for path in (state.root, run, shared.spool, state.jobs, state.users))
    yield state.path("shared"), paths.PUBLIC
    yield from ((path, state.told_mode) for path in (state.snapshot, state.observed))
    yield state.daemon_pid, paths.PUBLIC
    locks = (state.snapshot_lock, state.scheduler_lock, state.daemon_lock)
    for path in (*locks, state.history, f"{state.history}-shm", f"{state.history}-wal", state.outbox, state.options):
        yield path, CLOSED
    yield os.path.join(run, "bell"), CLOSED


def kernel(context: Context) -> Iterator[Finding]:
    """What the kernel is to keep users from, and to tell of their jobs."""
    if context.state.shared is None:
        return
    try:
        with open(HARDLINKS, encoding="ascii") as file:
            protects = file.read().strip() != "0"
    except OSError:
        protects = True
    if not protects:
        told = "fs.protected_hardlinks is 0: users may give names of their own to files of others"
        yield Finding(WARN, told, "sudo sysctl -w fs.protected_hardlinks=1, and in /etc/sysctl.d for good")
    if cgroups.find_mount() is None:
        yield Finding(FAIL, "cgroup v2 is not mounted: gflowd cannot tell whose a process is", "boot with it")


def starting(context: Context) -> Iterator[Finding]:
    """Jobs can be started as their users."""
    config = _config(context)
    if config is None:
        return
    by_systemd = os.path.exists(paths.SYSTEMD)
    if config.shared_launcher == "systemd" and not by_systemd:
        yield Finding(FAIL, 'shared.launcher is "systemd", but systemd does not run here', 'set launcher = "own"')
    path = os.path.join(PAM, config.shared_pam_service)
    try:
        paths.check_trusted(path)
        os.stat(path)
    except FileNotFoundError:
        remedy = "install it from the package gflow-system, or name another by shared.pam_service"
        yield Finding(
            FAIL, f"{path}, by which accounts are checked, is missing: /etc/pam.d/other decides instead", remedy
        )
    else:
        yield Finding(OK, f"jobs are started by {_LAUNCHERS[config.shared_launcher]}, with accounts checked by {path}")


_LAUNCHERS = {"systemd": "systemd", "own": "gflowd itself"}


def gateway(context: Context) -> Iterator[Finding]:
    """Somebody takes the requests of users."""
    shared, config = context.state.shared, _config(context)
    if shared is None or config is None:
        return
    trouble = presence.look(shared.gate)["trouble"]
    is_service = config.shared_gateway == "service"
    if trouble is None:
        yield Finding(OK, f"the gateway answers at {shared.gate}")
        return
    remedy = (
        "sudo systemctl enable --now gflow-gateway.socket" if is_service else "start gflowd, of which it is a worker"
    )
    yield Finding(FAIL, f"nobody takes requests at {shared.gate}: {trouble}", remedy)


def operators(context: Context) -> Iterator[Finding]:
    """The groups that are named exist."""
    config = _config(context)
    if config is None:
        return
    for key, people in (("operators", config.shared_operators), ("users", config.shared_users or ())):
        for group in (name[1:] for name in people if name.startswith("@")):
            try:
                members = grp.getgrnam(group).gr_mem
            except KeyError:
                remedy = f"sudo groupadd --system {group}" if key == "operators" else f"see shared.{key}"
                yield Finding(WARN, f"there is no group {group}, which shared.{key} names", remedy)
            else:
                if key == "operators":
                    yield Finding(OK, f"operators: root and group {group} ({', '.join(members) or 'nobody yet'})")


def _config(context: Context) -> Config | None:
    """That of a daemon for all users; None for another."""
    return None if context.state.shared is None else context.configuration()


CHECKS: tuple[Check, ...] = (places, kernel, starting, gateway, operators)
