"""Small files that processes leave for each other: created once, replaced, written over, opened to be read.

They are not synced, since no process that wrote one survives a power cut. What must survive it goes through `paths`.
"""

from __future__ import annotations

import errno
import os
import stat

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


def open_plain(path: str, *, follow: bool = False) -> int:
    """A descriptor of a plain file to read; a link is followed only if asked for. Nothing else that is there is even
    opened, since that tells who has the other end of a named pipe, or starts a device; and nobody is waited for who
    leases the file (fcntl(2)). Raises OSError: ELOOP for a link, EINVAL for what else is no plain file.
    """
    place = os.open(path, os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    try:
        mode = os.fstat(place).st_mode
        if not stat.S_ISREG(mode):
            number = errno.ELOOP if stat.S_ISLNK(mode) else errno.EINVAL
            raise OSError(number, "not a regular file", path)
        return os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except BlockingIOError:
        raise PermissionError(errno.EACCES, "is leased", path) from None
    finally:
        os.close(place)


def read_plain(path: str, most: int | None = None) -> bytes:
    """The content of a plain file, or its first bytes. Raises as `open_plain`, whatever file is meant."""
    fd = open_plain(path)
    try:
        size = os.fstat(fd).st_size
        return paths.read_range(fd, 0, size if most is None else min(size, most))
    finally:
        os.close(fd)


def _fill(fd: int, content: bytes) -> None:
    """Writes every byte, and closes."""
    try:
        paths.write_all(fd, content)
    finally:
        os.close(fd)
