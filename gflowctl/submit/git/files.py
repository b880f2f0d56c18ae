"""Files of a repository, which may be anybody's: read whole up to a bound, and only where they are regular files."""

from __future__ import annotations

import os
import stat

SMALL = 1 << 16  # bytes


class UnreadableError(Exception):
    """What is there is broken, too large, or of a kind that is not read here."""


def content(path: str | bytes, most: int = SMALL, *, follow: bool = True) -> bytes:
    """What a file holds. Waits for no pipe. Raises OSError, and `UnreadableError` beyond `most` bytes."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    try:
        seen = os.fstat(fd)
        if not stat.S_ISREG(seen.st_mode) or seen.st_size > most:
            raise UnreadableError
        found = b""
        while len(found) <= most and (part := os.read(fd, most + 1 - len(found))):
            found += part
    finally:
        os.close(fd)
    if len(found) > most:
        raise UnreadableError
    return found


def kept(path: str, most: int = SMALL) -> bytes | None:
    """As `content`; None where there is no such file."""
    try:
        return content(path, most)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def digest(data: bytes, size: int) -> bytes:
    """The SHA-1 or, of 32 bytes, the SHA-256 of `data`; hashlib, which has the same, takes ten times the import."""
    if size == 20:
        try:
            from _sha1 import sha1  # type: ignore[import-not-found]
        except ImportError:
            from hashlib import sha1
        return bytes(sha1(data).digest())  # noqa: S324 -- the name that git gives
    from hashlib import sha256

    return sha256(data).digest()
