"""Files and directories that root makes in its own directories and gives to a user. Nothing here may be called for a
path below a directory that anybody else may write.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from gflowd import paths
from gflowd.effects.shared_mode import user_files

if TYPE_CHECKING:
    from gflowd.effects.shared_mode.account import Account

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def write(path: str, content: bytes, owner: Account, mode: int, *, durable: bool = False) -> None:
    """Makes `path` a file of `owner`'s with this content, all or nothing, by a rename. Raises OSError."""
    fresh = f"{path}.new.{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)  # left by a killed process that had our pid
    fd = os.open(fresh, _NEW, 0o600)
    try:
        paths.write_all(fd, content)
        os.fchown(fd, owner.uid, owner.gid)
        os.fchmod(fd, mode)
        if durable:
            os.fsync(fd)
    except OSError:
        os.unlink(fresh)
        raise
    finally:
        os.close(fd)
    try:
        os.rename(fresh, path)
    except OSError:
        os.unlink(fresh)
        raise
    if durable:
        paths.sync_directory(os.path.dirname(path))


def directory(path: str, owner: Account) -> None:
    """Makes a directory that only `owner` may enter, where there is none. Raises OSError, FileExistsError for another's
    or what is no directory.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    fd = user_files.opened(path, _DIRECTORY)
    try:
        found = os.fstat(fd)
        if found.st_uid == os.geteuid() != owner.uid:  # just made, by us or by one who was killed
            os.fchown(fd, owner.uid, owner.gid)
            os.fchmod(fd, 0o700)
        elif found.st_uid != owner.uid:
            raise FileExistsError(errno.EEXIST, f"belongs to user {found.st_uid}, not to {owner.name}", path)
    finally:
        os.close(fd)


def is_there(path: str) -> bool:
    """Whether there is such a file. Raises OSError where its owner has mounted something over it."""
    try:
        user_files.about(path)
    except FileNotFoundError:
        return False
    return True


def read(path: str, owner: Account, most: int) -> bytes:
    """The first `most` bytes of a file that was given to `owner` alone, who may have made it any size since. Raises
    OSError; PermissionError for any other's, and for one that the owner lets nobody open (fcntl(2), F_SETLEASE).
    """
    try:
        fd = user_files.opened(path, os.O_RDONLY | os.O_NONBLOCK)
    except BlockingIOError:
        raise PermissionError(errno.EACCES, "is leased", path) from None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != owner.uid or found.st_mode & 0o077:
            raise PermissionError(errno.EACCES, f"is not {owner.name}'s alone", path)
        return paths.read_range(fd, 0, min(found.st_size, most))
    finally:
        os.close(fd)
