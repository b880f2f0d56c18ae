"""Removes a tree of any depth and width in this process, with bounded memory: as its owner, so that nothing needs a
program that the owner could trace. Links are not followed, other file systems are left alone.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ALL = stat.S_IRWXU


@dataclass(slots=True)
class _Level:
    """A directory that we are in, or above: its name in the one above, its inode, and what in it cannot be removed."""

    name: str
    inode: int
    stuck: set[str] = field(default_factory=set)


def remove(path: str) -> bool:
    """Removes what is at `path`, or at least what is in it; False if something in it stays. The working directory is
    anywhere then.
    """
    try:
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode):
            os.unlink(path)
            return True
        levels = [_Level(path, _enter(path, found.st_dev))]
    except FileNotFoundError:
        return True
    except OSError:
        return False
    while True:
        here = levels[-1]
        name = _unlink_files(here.stuck)
        if name is not None:
            try:
                levels.append(_Level(name, _enter(name, found.st_dev)))
            except OSError:
                here.stuck.add(name)
        elif len(levels) == 1:
            break
        else:
            levels.pop()
            os.chdir("..")
            if os.stat(".").st_ino != levels[-1].inode:
                return False  # it was moved meanwhile
            try:
                os.rmdir(here.name)
            except OSError:
                levels[-1].stuck.add(here.name)
    try:
        os.rmdir(path)
    except OSError:
        pass  # the directory itself is in another's
    return not levels[0].stuck


def _enter(name: str, device: int) -> int:
    """Makes a directory the working directory; returns its inode. Raises OSError for one of another device."""
    found = os.lstat(name)
    if stat.S_ISDIR(found.st_mode) and found.st_mode & _ALL != _ALL:
        os.chmod(name, _ALL)
    fd = os.open(name, _DIRECTORY)
    try:
        found = os.fstat(fd)
        if found.st_dev != device:
            raise OSError("another file system")
        os.fchdir(fd)
    finally:
        os.close(fd)
    return found.st_ino


def _unlink_files(stuck: set[str]) -> str | None:
    """Removes the files here; stops at the first directory and returns its name."""
    with os.scandir(".") as entries:
        for entry in entries:
            if entry.name in stuck:
                continue
            if entry.is_dir(follow_symlinks=False):
                return entry.name
            try:
                os.unlink(entry.name)
            except OSError:
                stuck.add(entry.name)
    return None
