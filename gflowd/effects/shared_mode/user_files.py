"""Opens what a user has, or has put into the user's part of a directory, for root to read: nothing that is a link, or
on a file system that the user has mounted there, whose answers might never come.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from itertools import islice
from typing import TYPE_CHECKING

from gflowd.effects.attempt import jobdir

if TYPE_CHECKING:
    from collections.abc import Callable

    from gflowd.effects.attempt.jobdir import Reader

OPENAT2 = 437  # on every architecture
NO_XDEV, NO_MAGICLINKS, BENEATH = 0x01, 0x02, 0x08  # openat2(2)
UNKNOWN = (errno.ENOSYS, errno.EPERM)  # what kernels before 5.6, and some containers, say
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def reader(uid: int) -> Reader:
    """As `jobdir.read`, of plain files of that user in the user's part. When one was written is when it was changed
    last, which nobody can set.
    """

    def read(directory: str, name: str) -> tuple[str, float] | None:
        fd = _open(directory, name, _READ)
        if fd is None:
            return None
        try:
            found = os.fstat(fd)
            if found.st_uid != uid or not stat.S_ISREG(found.st_mode):
                return None
            return os.read(fd, jobdir.LONGEST).decode(errors="replace"), found.st_ctime
        except OSError:
            return None
        finally:
            os.close(fd)

    return read


def pipe_opener(uid: int) -> Callable[[str, str], int]:
    """Opens a named pipe of that user's in a directory of theirs, itself in one that root has made for the user. Raises
    OSError for anything else.
    """

    def opened(directory: str, name: str) -> int:
        own, inner = os.path.split(directory)
        fd = _opened(own, os.path.join(inner, name), _READ)
        found = os.fstat(fd)
        if found.st_uid != uid or not stat.S_ISFIFO(found.st_mode):
            os.close(fd)
            raise FileNotFoundError(errno.ENOENT, "there is no such pipe", directory)
        return fd

    return opened


def found(directory: str, name: str) -> os.stat_result | None:
    """What is there, as lstat(2) has it; None where there is nothing to be looked at."""
    fd = _open(directory, name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    if fd is None:
        return None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def may_exist(directory: str, name: str) -> bool:
    """Whether anything is there, or cannot be looked at."""
    try:
        os.close(_opened(directory, name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC))
    except FileNotFoundError:
        return False
    except OSError:
        pass
    return True


def opened(path: str, flags: int) -> int:
    """A descriptor of what root has made for a user, in a directory of root's. Raises OSError: EXDEV where the user has
    mounted something over it.
    """
    return _resolved(os.path.dirname(path), os.path.basename(path), flags | os.O_NOFOLLOW | os.O_CLOEXEC)


def about(path: str) -> os.stat_result:
    """As lstat(2), of the same. Raises OSError."""
    fd = opened(path, os.O_PATH)
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def touch(path: str) -> None:
    """Marks the same as used now. Raises OSError."""
    fd = opened(path, os.O_PATH)
    try:
        os.utime(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def listed(directory: str, most: int) -> list[str]:
    """The names of at most so many files in a directory that root has made for a user; none where it cannot be read."""
    try:
        fd = opened(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return []
    try:
        with os.scandir(fd) as found:
            return [each.name for each in islice(found, most)]
    except OSError:
        return []
    finally:
        os.close(fd)


def _open(directory: str, name: str, flags: int) -> int | None:
    try:
        return _opened(directory, name, flags)
    except OSError:
        return None


def _opened(directory: str, name: str, flags: int) -> int:
    """Raises OSError."""
    above, own = os.path.split(directory)
    return _resolved(above, os.path.join(own, name), flags)


def _resolved(above: str, inside: str, flags: int) -> int:
    """`above`: root's, as every directory on the way to it. Raises OSError."""
    root = os.open(above, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        path = os.fsencode(inside)
        how = _How(flags, 0, NO_XDEV | NO_MAGICLINKS | BENEATH)
        fd: int = _libc.syscall(OPENAT2, root, path, ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how)))
        if fd >= 0:
            return fd
        if (number := ctypes.get_errno()) not in UNKNOWN:
            raise OSError(number, os.strerror(number), os.path.join(above, inside))
        return os.open(path, flags, dir_fd=root)
    finally:
        os.close(root)
