"""Removals in the background: of what is the daemon's own user's, or of what is many users', by processes of theirs."""

from __future__ import annotations

import os
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from gflowd.effects.attempt.removal import Removal
from gflowd.workers import attempt_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from gflowd.config.loader import Config
    from gflowd.effects.shared_mode.job_groups import JobGroups
    from gflowd.paths import State

LOOKED_AT = 10_000  # files in a directory of a user's, who may have made any number


class Running(Protocol):
    """A removal that has begun."""

    def is_over(self) -> bool:
        """Whether it has ended."""

    def left(self) -> list[str]:
        """What still exists."""


def groups(state: State, config: Config) -> JobGroups | None:
    """What the functions below need of a daemon for many users; None of a user's own. Raises OSError."""
    return None if state.shared is None else attempt_processes.groups_of(state, config)


def looks(groups: JobGroups | None) -> tuple[Callable[[str], os.stat_result], Callable[[str], None]]:
    """How to look at a file in a directory of ours, as lstat(2), and to mark it as used: of a user's, never at what
    that user has mounted over it. Both raise OSError.
    """
    if groups is None:
        return os.lstat, partial(os.utime, follow_symlinks=False)
    from gflowd.effects.shared_mode import user_files

    return user_files.about, user_files.touch


def old_of_users(places: Iterable[str], known: Collection[str], before: float, most: int) -> list[str]:
    """In these directories of users, at most so many files that were changed `before` and whose names, up to a dot, are
    not `known`.
    """
    from gflowd.effects.shared_mode import user_files

    old = (
        os.path.join(place, name)
        for place in places
        for name in user_files.listed(place, LOOKED_AT)
        if name.partition(".")[0] not in known
        and (at := user_files.found(place, name)) is not None
        and at.st_mtime < before
    )
    return list(islice(old, most))


def of_jobs(directories: Sequence[str], groups: JobGroups | None) -> Running:
    """Removes directories of jobs with their content; links are not followed. Raises OSError."""
    if groups is None:
        return Removal(directories)
    from gflowd.effects.shared_mode import user_removal

    return user_removal.of_jobs(directories, groups)


def of_users(paths: Sequence[str], groups: JobGroups | None) -> Running:
    """Removes directories in ours that jobs may write to, and files. Raises OSError."""
    if groups is None:
        return Removal(paths)
    from gflowd.effects.shared_mode import user_removal

    return user_removal.of_users(paths, groups)
