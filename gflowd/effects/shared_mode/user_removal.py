"""Removes what users have left, each user's as that user, and then what root has made around it."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from gflowd.effects.shared_mode import user_files
from gflowd.effects.shared_mode.as_user import Task
from gflowd.paths import OWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gflowd.effects.shared_mode.job_groups import JobGroups


AT_ONCE = 4  # users
SLICE = 60.0  # seconds


class UserRemoval:
    """A running removal of `paths`, for a few users at a time and for each only so long: who has very much to remove
    delays others little, and the rest is found again. `own` gives of each path what its user may write, `finish`
    removes what is around it. As `removal.Removal`.
    """

    def __init__(
        self,
        paths: Sequence[str],
        groups: JobGroups,
        own: Callable[[str], Iterator[str]],
        finish: Callable[[str], None],
    ) -> None:
        self.paths = paths
        self._groups = groups
        self._finish = finish
        self._todo = _by_owner(each for path in paths for each in own(path))
        self._tasks: list[Task] = []
        self._advance()

    def is_over(self) -> bool:
        """Whether the removal has ended."""
        if self._tasks:
            self._advance()
        return not self._tasks

    def left(self) -> list[str]:
        """Those of `paths` that still exist."""
        return [path for path in self.paths if user_files.may_exist(*os.path.split(path))]

    def _advance(self) -> None:
        self._tasks = [task for task in self._tasks if not task.is_over()]
        while self._todo and len(self._tasks) < AT_ONCE:
            owner, trees = self._todo.popitem()
            with contextlib.suppress(OSError):  # they are found again in a later round
                self._tasks.append(Task("remove", trees, owner, self._groups, SLICE))
        if not self._tasks:
            for path in self.paths:
                with contextlib.suppress(OSError):
                    self._finish(path)


def of_jobs(directories: Sequence[str], groups: JobGroups) -> UserRemoval:
    """Removes directories of jobs, with all their attempts."""
    return UserRemoval(directories, groups, _own_parts, _remove_ours)


def of_users(paths: Sequence[str], groups: JobGroups) -> UserRemoval:
    """Removes directories that root has made for users, and plain files in them."""
    return UserRemoval(paths, groups, lambda path: iter((path,)), _remove_empty)


def _by_owner(paths: Iterator[str] | Sequence[str]) -> dict[tuple[int, int], list[str]]:
    found: dict[tuple[int, int], list[str]] = {}
    for path in paths:
        if (at := user_files.found(*os.path.split(path))) is not None:
            found.setdefault((at.st_uid, at.st_gid), []).append(path)
    return found


def _own_parts(directory: str) -> Iterator[str]:
    for place in (directory, *_inner(directory)):
        yield os.path.join(place, OWN)


def _inner(directory: str) -> list[str]:
    """The directories of ours in one of ours: those of attempts."""
    if not _is_ours(directory):
        return []
    with os.scandir(directory) as found:
        return [entry.path for entry in found if entry.name != OWN and _is_ours(entry.path)]


def _is_ours(path: str) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _remove_ours(directory: str) -> None:
    """Removes root's part of a job's directory, which holds files and emptied parts of the user's. Raises OSError."""
    for place in (*_inner(directory), directory):
        for name in os.listdir(place):
            _remove_name(os.path.join(place, name))
        with contextlib.suppress(OSError):
            os.rmdir(place)


def _remove_name(path: str) -> None:
    """Without a look at it, for which a file system of its user's might be asked."""
    with contextlib.suppress(OSError):
        try:
            os.rmdir(path)
        except NotADirectoryError:
            os.unlink(path)


def _remove_empty(path: str) -> None:
    with contextlib.suppress(NotADirectoryError):
        os.rmdir(path)
