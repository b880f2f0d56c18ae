"""Where the daemon for many users keeps what it needs: whether this machine can have one, its directories, and the file
`shared`, by which all of gflow knows of it. Knows no job.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

from gflowd import paths
from gflowd.core.errors import GflowError, Refused, SystemFailed
from gflowd.core.job.records import SPEC
from gflowd.effects.kernel import cgroups
from gflowd.storage.journal import lines

if TYPE_CHECKING:
    from gflowd.config.loader import Config


def prepared(state: paths.State, config: Config) -> paths.State:
    """The state directory of a daemon that is about to start, with all that there is to be. Raises `Refused` where
    there can be none.
    """
    _check(state, config)
    runtime = os.path.abspath(os.environ.get("GFLOW_RUNTIME_DIR") or paths.SYSTEM_RUNTIME)
    gate = paths.Runtime(runtime).gate
    state.share(paths.Shared(gate, _spool(state), private_jobs=config.shared_private_jobs))
    paths.Runtime(runtime, of_many=True).prepare()
    paths.passable_directory(state.root)
    paths.private_directory(os.path.dirname(state.log))
    for place in (os.path.dirname(state.jobs), state.jobs, state.users):
        paths.passable_directory(place)
    _write(state)
    return state


def follow(state: paths.State, config: Config) -> None:
    """Puts a configuration that was read again into effect, for what is not a worker's. Raises `Refused`."""
    check_launcher(config)
    shared = state.shared
    if shared is not None and shared.private_jobs != config.shared_private_jobs:
        state.share(paths.Shared(shared.gate, shared.spool, private_jobs=config.shared_private_jobs))
        _write(state)


class Known:
    """What others know the running daemon by: the file `shared`, and the modes of what tells of all jobs. Mutable: what
    was last seen of the file.
    """

    def __init__(self, state: paths.State) -> None:
        self._state = state
        self._path = state.path("shared")
        self._seen: tuple[int, ...] | None = None

    def look(self) -> bool:
        """Writes the file again where it does not say what the daemon goes by; whether it did not. Raises
        `SystemFailed`.
        """
        if (now := self._stamp()) is not None and now == self._seen:
            return False
        try:
            found = paths.read_shared(self._path)
        except Refused:
            found = None
        shared = self._state.shared
        is_other = found is None or shared is None or _said(found) != _said(shared)
        if is_other:
            _write(self._state)
        self._seen = self._stamp()
        return is_other

    def settle(self) -> None:
        """Sets the modes again: a worker that has ended since may have written by the old configuration."""
        with contextlib.suppress(OSError):
            _settle(self._state)

    def _stamp(self) -> tuple[int, ...] | None:
        try:
            found = os.lstat(self._path)
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _check(state: paths.State, config: Config) -> None:
    if os.geteuid() != 0:
        raise Refused("only root can run the daemon for all users: it starts jobs as their users")
    if cgroups.find_mount() is None:
        raise Refused("cgroup v2 is not mounted here, and by its groups gflowd knows which process is whose job's")
    check_launcher(config)
    if state.shared is None and os.path.lexists(state.snapshot) and not _is_of_many(state):
        raise Refused(f"{state.root} holds root's own queue; the daemon for all users begins with an empty directory")


def check_launcher(config: Config) -> None:
    """Raises `Refused` for what only systemd could do, where it does not run."""
    if os.path.exists(paths.SYSTEMD):
        return
    wrong = {"launcher": (config.shared_launcher, "own"), "gateway": (config.shared_gateway, "worker")}
    for key, (said, can_be) in wrong.items():
        if said != can_be:
            raise Refused(f'shared.{key} = "{said}", but systemd does not run here: write {key} = "{can_be}"')


def _is_of_many(state: paths.State) -> bool:
    """Whether the snapshot is one of many users, and only the file `shared` is gone."""
    from gflowd.storage.store import Store

    again = paths.State(state.root)
    again.share(paths.Shared())
    try:
        specs = Store(again).read().of(SPEC)
    except GflowError:
        return False
    return all(spec.get("uid") is not None for spec in specs.values())


def _spool(state: paths.State) -> str:
    """Where it was, or where root wrote that it shall be."""
    if state.shared is not None:
        return state.shared.spool
    return paths.SYSTEM_SPOOL if state.root == paths.SYSTEM_STATE else state.path("spool")


def _write(state: paths.State) -> None:
    shared = state.shared
    assert shared is not None
    path = state.path("shared")
    try:
        paths.replace_file(
            path, json.dumps(_said(shared)).encode() + b"\n", durable=True, mode=paths.PUBLIC, is_exact=True
        )
        _settle(state)
    except OSError as error:
        raise SystemFailed(f"{error.filename or path}: {error.strerror}") from error


def _settle(state: paths.State) -> None:
    """Gives what tells of all jobs the mode that it has by now."""
    for told in (state.snapshot, state.observed, state.path(lines.CURRENT), state.path(lines.OLDER)):
        try:
            os.chmod(told, state.told_mode)  # in a directory where only root makes names
        except FileNotFoundError:
            pass


def _said(shared: paths.Shared) -> dict[str, object]:
    return {name: getattr(shared, name) for name in paths.Shared.__slots__}
