"""What goes into a backup: the snapshot as it is under its lock, what it refers to, history and configuration."""

from __future__ import annotations

import io
import os
import re
import tempfile
import time

from gflowctl.admin import backup_file
from gflowd import __version__, paths
from gflowd.core.cluster.directory_names import BATCHES, DIRECTORY, STATE_ID
from gflowd.core.errors import Refused, SystemFailed
from gflowd.core.gateway.protocol import TAIL_LIMIT
from gflowd.core.job.records import HEADER
from gflowd.effects.gateway import kept_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowctl.context import Context
    from gflowd.storage.record_log import Fold

_IS_CONTENT = re.compile(r"[0-9a-f]{32}").fullmatch  # not what gflowd makes of it
_IS_OF_USER = re.compile(r"(?:env|scripts)/[0-9]+/[0-9a-f]{32}").fullmatch


def save(context: Context, path: str, *, logs: bool) -> Fold:
    """Writes a backup to `path`; the snapshot that went into it. Raises `Refused`, `SystemFailed` or OSError."""
    state = context.state
    backup_file.check_may(state)
    if logs and state.shared is not None:
        raise Refused("--logs: of many users logs are theirs, and root does not follow where they lead")
    if not state.has_snapshot():
        raise Refused(f"{state.root}: nothing has been submitted, so there is nothing to back up")
    with context.writable_store.commit() as commit:
        snapshot = paths.read_open(state.open_told(state.snapshot, os.O_RDONLY))
        fold = commit.fold()
    about = {"gflow": __version__, "at": time.time(), "machine": fold.of(HEADER).get(0, {}).get("machine")}
    with backup_file.Writer(path, about) as writer:
        writer.add("snapshot.jsonl", snapshot)
        for name, place in _files(context, logs=logs):
            _add(writer, name, place)
        _add_history(writer, state.path("history.db"))
    return fold


def _files(context: Context, *, logs: bool) -> Iterator[tuple[str, str]]:
    """Name in the backup, and path."""
    state = context.state
    yield "options.json", state.options
    yield "gflow.toml", context.config_path
    for folder in ("env", "scripts"):
        for uid in (None,) if state.shared is None else map(int, filter(str.isdecimal, _listed(state.users))):
            place = state.kept(folder, uid)
            for name in filter(_IS_CONTENT, _listed(place)):
                yield "/".join((folder, *(() if uid is None else (str(uid),)), name)), os.path.join(place, name)
    yield f"{DIRECTORY}/{STATE_ID}", state.path(DIRECTORY, STATE_ID)  # after the snapshot: what has ended since is gone
    for name in _listed(state.path(DIRECTORY, BATCHES)):
        yield f"{DIRECTORY}/{BATCHES}/{name}", state.path(DIRECTORY, BATCHES, name)
    if logs:
        for job in _listed(state.jobs):
            for attempt in _listed(state.path("jobs", job)):
                for name in ("log", "log.cut"):
                    yield f"jobs/{job}/{attempt}/{name}", state.path("jobs", job, attempt, name)


def _listed(place: str) -> list[str]:
    try:
        return sorted(os.listdir(place))
    except OSError:
        return []


def _add(writer: backup_file.Writer, name: str, place: str) -> None:
    """Skips a file that is missing or not ours: a job may do anything in its own directory."""
    if not backup_file.NAME.fullmatch(name):
        return
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if name == "gflow.toml" else os.O_NOFOLLOW)
    try:
        fd = kept_files.opened(place) if _IS_OF_USER(name) else os.open(place, flags)
    except OSError:
        return
    with os.fdopen(fd, "rb") as file:
        if _IS_OF_USER(name) and os.path.isfile(f"/proc/self/fd/{fd}"):  # who may have made it any size since
            content = file.read(TAIL_LIMIT)
            if paths.content_name(content) == os.path.basename(name):
                writer.copy(name, io.BytesIO(content), len(content))
        elif os.path.isfile(f"/proc/self/fd/{fd}"):
            writer.copy(name, file, os.fstat(fd).st_size)


def _add_history(writer: backup_file.Writer, place: str) -> None:
    """Copies it through SQLite, which knows which parts are still in other files."""
    if not os.path.lexists(place):
        return
    import sqlite3

    with tempfile.TemporaryDirectory(prefix="backup.", dir=os.path.dirname(place)) as scratch:
        copy = os.path.join(scratch, "history.db")
        try:
            source, target = sqlite3.connect(place), sqlite3.connect(copy)
            try:
                source.backup(target)
            finally:
                target.close()
                source.close()
        except sqlite3.Error as error:
            raise SystemFailed(f"{place}: {error}") from error
        _add(writer, "history.db", copy)
