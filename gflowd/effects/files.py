"""Small files that processes leave for each other: created once, replaced, written over, opened to be read.

They are not synced, since no process that wrote one survives a power cut. What must survive it goes through `paths`.
"""

from __future__ import annotations

import os

from gflowd import paths

_OVER = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


def create(path: str, content: bytes) -> bool:
    """Makes a file (0600); False when there is one already. Raises OSError."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return False
    _fill(fd, content)
    return True


def replace(path: str, content: bytes, mode: int = 0o600) -> None:
    """Makes `path` hold `content`, all or nothing, by a rename from `path.new`. Raises OSError."""
    fresh = f"{path}.new"
    _fill(os.open(fresh, _OVER, mode), content)
    os.rename(fresh, path)


def overwrite(path: str, content: bytes) -> None:
    """Writes a file (0600) where it is: others may see the half of it. Raises OSError."""
    _fill(os.open(path, _OVER, 0o600), content)


def open_to_read(path: str) -> int | None:
    """A descriptor of a file, which never waits for a writer; None where there is none that we may read, or a link."""
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None


def _fill(fd: int, content: bytes) -> None:
    """Writes every byte, and closes."""
    try:
        paths.write_all(fd, content)
    finally:
        os.close(fd)
