"""Private directories for temporary files, in a directory that is ours alone below a place for all, such as /tmp.

Whatever is at a path is checked by a descriptor, never by its name alone. Links are not followed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable

from gflowd import paths

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
Opener = Callable[[str, int], int]  # as os.open


def make(path: str, owner: tuple[int, int] | None = None, opened: Opener = os.open) -> bool:
    """Makes the directory `path` (0700) and the one around it, or finds them. False if the one around it is not ours,
    or open to others, or if `path` is no directory. Raises OSError.

    With an `owner`, a uid and a gid, it is made for that user, who may pass through the one around it; `opened`: how
    root opens what such a user may have mounted something over.
    """
    parent, name = os.path.split(path)
    with contextlib.suppress(FileExistsError):
        os.mkdir(parent, 0o700)
    fd = _open_ours(parent, is_passable=owner is not None)
    if fd is None:
        return False
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=fd)
        if owner is not None:
            os.fchmod(fd, paths.PASSABLE)
            return _is_given(opened(path, _DIRECTORY), owner)
        return stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    finally:
        os.close(fd)


def _is_given(fd: int, owner: tuple[int, int]) -> bool:
    """Whether an open directory, which is closed then, is `owner`'s, to whom it is given if it is still ours."""
    try:
        if os.fstat(fd).st_uid == os.geteuid():
            os.fchown(fd, *owner)
        return os.fstat(fd).st_uid == owner[0]
    finally:
        os.close(fd)


def content(parent: str, *, is_passable: bool = False) -> list[str]:
    """The names of what is in a directory that is ours alone; none of any other. `is_passable`: others may pass."""
    fd = _open_ours(parent, is_passable=is_passable)
    if fd is None:
        return []
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def is_ours(parent: str, *, is_passable: bool = False) -> bool:
    """Whether it is a directory that is ours alone, and no link to one."""
    fd = _open_ours(parent, is_passable=is_passable)
    if fd is None:
        return False
    os.close(fd)
    return True


def is_roots_alone(place: str) -> bool:
    """Whether nobody but root may write in a directory."""
    try:
        found = os.stat(place)
    except OSError:
        return False
    return found.st_uid == 0 and not found.st_mode & 0o022


def remove_empty(path: str) -> bool:
    """Removes an empty directory; returns whether nothing is there any more."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _open_ours(path: str, *, is_passable: bool) -> int | None:
    """A descriptor of a directory that we own and nobody else may enter, or do more than pass; None of any other, or of
    a link.
    """
    try:
        fd = os.open(path, _DIRECTORY)
    except OSError:
        return None
    found = os.fstat(fd)
    if found.st_uid == os.geteuid() and not found.st_mode & (0o066 if is_passable else 0o077):
        return fd
    os.close(fd)
    return None
