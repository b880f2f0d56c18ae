"""Restores a backup. The state is replaced only if the whole backup is present and intact; the old state is kept.

Directories of jobs stay where they are: a job that still runs finds its own, and an attempt that has already begun
does not begin again.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass

from gflowctl.admin import backup_file
from gflowd import paths
from gflowd.core.cluster.directory_names import BATCHES, DIRECTORY, IS_STATE_ID, RESTORED, STATE_ID
from gflowd.core.errors import Refused
from gflowd.core.job.field_rules import LARGEST_WHOLE
from gflowd.core.job.records import SCHEDULER
from gflowd.effects import daemon
from gflowd.effects.gateway import kept_files
from gflowd.storage.lock import whole_lock
from gflowd.storage.record_log import Fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from gflowctl.context import Context
    from gflowd.paths import State

STAGING = "restore.new"
ORPHAN = 5.0  # seconds: a scheduler may outlive a killed supervisor by a moment
LEAP = 1000  # ids
HISTORY = ("history.db", "history.db-wal", "history.db-shm")


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored: the snapshot, the backup's description, where the old state is kept (None: there was none)."""

    fold: Fold
    about: dict[str, Any]
    kept: str | None


def restore(context: Context, path: str, *, force: bool, with_config: bool) -> Restored:
    """Replaces state and configuration by the backup at `path`. Raises `Refused`, `SystemFailed` or OSError."""
    state = context.state
    backup_file.check_may(state)
    config = context.config_path if with_config else None
    staging = state.path(STAGING)
    if config is not None and os.path.exists(config) and not os.path.isfile(config):
        raise Refused(f"{config} is not a regular file; --no-config leaves it as it is")
    state.prepare()
    with _without_daemon(state):
        shutil.rmtree(staging, ignore_errors=True)  # left by a restore that was killed
        os.mkdir(staging, 0o700)
        try:
            about = backup_file.unpack(path, staging)
            fold = _fold(context, os.path.join(staging, "snapshot.jsonl"))
            _refuse_to_replace(state, staging, config, force=force)
            kept = _Kept(state.path(f"replaced-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}"))
            _prepare_clusters(state, staging, kept)
            _put_files(state, staging, kept)
            if config is not None:
                mode = paths.PRIVATE if state.shared is None else paths.PUBLIC
                _put_config(os.path.join(staging, "gflow.toml"), config, kept, mode)
            _put_snapshot(context, fold, kept)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return Restored(fold, about, kept.place if os.path.isdir(kept.place) else None)


@contextmanager
def _without_daemon(state: State) -> Iterator[None]:
    """Keeps gflowd, and another restore, from starting meanwhile. Raises `Refused` if gflowd runs."""
    from filelock import Timeout

    held = []
    try:
        for path, patience in ((state.daemon_lock, 0), (state.scheduler_lock, ORPHAN)):
            os.close(paths.open_lock(path))
            lock = whole_lock(path, patience)
            lock.acquire()
            held.append(lock)
        yield
    except Timeout:
        stop = "gflowd stop" if state.shared is None else "gflowd stop --system"
        raise Refused(f"gflowd is running ({daemon.running(state) or 'still stopping'}); {stop}") from None
    finally:
        for lock in held:
            lock.release()


def _fold(context: Context, path: str) -> Fold:
    """The snapshot of the backup. Raises `Refused` or `SystemFailed` if this gflow cannot use it."""
    with open(path, "rb") as file:
        return context.store.fold(file.read())[0]


def _refuse_to_replace(state: State, staging: str, config: str | None, *, force: bool) -> None:
    if force:
        return
    how = "--force replaces it and keeps the old one"
    for name in ("snapshot.jsonl", *HISTORY[:1], *(("jobs",) if state.shared is None else ())):
        if os.path.lexists(state.path(name)):
            raise Refused(f"{state.root} is in use: it has {name}; {how}")
    ours = os.path.join(staging, "gflow.toml")
    if config is not None and os.path.lexists(config) and os.path.exists(ours) and not _same(config, ours):
        raise Refused(f"{config} exists and differs from the backup; {how}, --no-config leaves it as it is")


def _same(one: str, other: str) -> bool:
    with open(one, "rb") as first, open(other, "rb") as second:
        return first.read() == second.read()


class _Kept:
    """Where the old state is kept; created when first needed."""

    def __init__(self, place: str) -> None:
        self.place = place

    def path(self, name: str) -> str:
        paths.private_directory(self.place)
        return os.path.join(self.place, name)


def _prepare_clusters(state: State, staging: str, kept: _Kept) -> None:
    """What is known here of jobs on clusters is newer than the backup, unless it is of another state directory. gflowd
    is told to look there for what is missing here. Raises `Refused` or OSError.
    """
    ours, theirs = (_content(os.path.join(root, DIRECTORY, STATE_ID)) for root in (state.root, staging))
    if theirs is not None and not IS_STATE_ID(theirs):
        raise Refused(f"the backup is damaged: its {DIRECTORY}/{STATE_ID} is not one of gflow's")
    if ours is not None and theirs is not None and ours != theirs:
        os.rename(state.path(DIRECTORY), kept.path(DIRECTORY))
    if theirs is not None or ours is not None:
        paths.private_directory(state.path(DIRECTORY))
        paths.replace_file(state.path(DIRECTORY, RESTORED), b"", durable=True)


def _content(path: str) -> str | None:
    try:
        return paths.read_private(path).decode(errors="replace").strip()
    except FileNotFoundError:
        return None


def _is_newer(inside: str, target: str) -> bool:
    """Whether what is there is to stay: logs, also those that a cluster has, and what was handed over to one."""
    if inside.startswith("jobs/"):
        return os.path.lexists(target) or os.path.islink(os.path.dirname(target))
    return inside.startswith(f"{DIRECTORY}/{BATCHES}/") and os.path.lexists(target)


def _put_files(state: State, staging: str, kept: _Kept) -> None:
    """Environments and scripts are named by their content, and existing logs are newer than the backup's."""
    for name in HISTORY:
        if os.path.lexists(state.path(name)):
            os.rename(state.path(name), kept.path(name))
    for folder, _, names in os.walk(staging):
        for name in names:
            source = os.path.join(folder, name)
            inside = os.path.relpath(source, staging)
            owner = _owner(state, inside)
            target = state.path(inside) if owner is None else _of_user(state, inside, owner)
            if inside in ("snapshot.jsonl", "gflow.toml") or _is_newer(inside, target):
                continue
            if owner is not None:  # often on another file system
                paths.passable_directory(os.path.dirname(target))
                kept_files.write(target, paths.read_private(source), owner)
            else:
                if state.shared is None:
                    paths.private_directory(os.path.dirname(target))
                os.chmod(source, 0o700 if inside.startswith("scripts/") else 0o600)
                os.rename(source, target)
            paths.sync_directory(os.path.dirname(target))


def _owner(state: State, inside: str) -> int | None:
    """Whose a file of the backup is to be, where there are many users: `env/1001/...`. Raises `Refused` for another's
    backup.
    """
    folder, *rest = inside.split("/")
    if folder not in ("env", "scripts", "jobs"):
        return None
    if (state.shared is None) != (folder == "jobs" or len(rest) == 1):
        raise Refused("the backup is not of a gflowd for " + ("one user" if state.shared is None else "all users"))
    return None if state.shared is None else int(rest[0])


def _of_user(state: State, inside: str, uid: int) -> str:
    """Where such a file of the backup is to be."""
    folder, _, name = inside.split("/")
    return os.path.join(state.kept(folder, uid), name)


def _put_config(source: str, config: str, kept: _Kept, mode: int) -> None:
    if not os.path.exists(source) or (os.path.exists(config) and _same(config, source)):
        return
    if os.path.lexists(config):
        with open(config, "rb") as file:
            paths.replace_file(kept.path("gflow.toml"), file.read(), durable=True)
    os.makedirs(os.path.dirname(config), exist_ok=True)
    with open(source, "rb") as file:
        paths.replace_file(os.path.realpath(config), file.read(), durable=True, mode=mode, is_exact=True)


def _put_snapshot(context: Context, fold: Fold, kept: _Kept) -> None:
    """Called under the lock. Ids continue after the greatest of the backup, the old state and all job directories; if
    it is not known which ids were used after the backup, a large gap is left; so it is with the ids of events.
    """
    store = context.writable_store
    is_new = not os.path.lexists(store.path)
    with store.commit(instead=Fold()) as commit:
        if not store.notes and not is_new:  # else it was unreadable, and has been set aside
            before = paths.read_open(store.state.open_told(store.path, os.O_RDONLY))
            paths.replace_file(kept.path("snapshot.jsonl"), before, durable=True)
        store.notes.clear()
        given = fold.next_id + LEAP if is_new else fold.next_id
        commit.next_id = max(commit.next_id, given, store.first_free_id())
        if (scheduler := fold.of(SCHEDULER).get(0)) is not None:
            fold.of(SCHEDULER)[0] = {**scheduler, "generation": min(scheduler["generation"] + LEAP, LARGEST_WHOLE)}
        commit.rewrite(fold)
