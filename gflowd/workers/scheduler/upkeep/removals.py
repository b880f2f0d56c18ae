"""Removals in the background: of what is the daemon's own user's, or of what is many users', by processes of theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gflowd.effects.attempt.removal import Removal
from gflowd.workers import attempts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowd.config.loader import Config
    from gflowd.effects.shared.job_groups import JobGroups
    from gflowd.paths import State


class Running(Protocol):
    """A removal that has begun."""

    def is_over(self) -> bool:
        """Whether it has ended."""

    def left(self) -> list[str]:
        """What still exists."""


def groups(state: State, config: Config) -> JobGroups | None:
    """What the functions below need of a daemon for many users; None of a user's own. Raises OSError."""
    return None if state.shared is None else attempts.groups_of(state, config)


def of_jobs(directories: Sequence[str], groups: JobGroups | None) -> Running:
    """Removes directories of jobs with their content; links are not followed. Raises OSError."""
    if groups is None:
        return Removal(directories)
    from gflowd.effects.shared import user_removal

    return user_removal.of_jobs(directories, groups)


def of_users(paths: Sequence[str], groups: JobGroups | None) -> Running:
    """Removes directories in ours that jobs may write to, and files. Raises OSError."""
    if groups is None:
        return Removal(paths)
    from gflowd.effects.shared import user_removal

    return user_removal.of_users(paths, groups)
