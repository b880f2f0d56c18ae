"""How an SQLite database of gflow's is opened, and its failures are told: the history, the outbox."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING

from gflowd import paths
from gflowd.core.errors import SystemFailed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
DAMAGED_SCHEMA = DAMAGED | {sqlite3.SQLITE_ERROR}  # a table is missing


class DatabaseFailed(SystemFailed):
    """`damaged`: the cause is not missing space or permissions, so the error will persist."""

    def __init__(self, message: str, *, damaged: bool = False) -> None:
        super().__init__(message)
        self.damaged = damaged


@contextlib.contextmanager
def guarded(failed: type[DatabaseFailed], path: str, damaged: Collection[int] = DAMAGED) -> Iterator[None]:
    """Turns SQLite's errors into `failed`; those with a code in `damaged` say that the file is."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        raise failed(f"{path}: {error}", damaged=code in damaged) from error


def find(failed: type[DatabaseFailed], path: str, *, write: bool) -> None:
    """Sees that the file is there; with `write`, creates it if missing. Raises FileNotFoundError, `Refused` for a file
    that is not private, and `failed`.
    """
    try:
        os.close(paths.open_private(path, os.O_RDWR | os.O_CREAT if write else os.O_RDONLY))
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise failed(f"{path}: {error.strerror}") from error


def connect(failed: type[DatabaseFailed], path: str, *, write: bool, patience: float) -> sqlite3.Connection:
    """Opens a file that is there, and waits for locks for `patience` seconds. Raises `failed`."""
    plain = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    with guarded(failed, path):
        return sqlite3.connect(
            f"file:{plain}?mode={'rw' if write else 'ro'}", timeout=patience, isolation_level=None, uri=True
        )
