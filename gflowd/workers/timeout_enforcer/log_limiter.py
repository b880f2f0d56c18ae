"""Keeps the logs of live jobs within `[logs] max_size`: checks their sizes, more often the sooner they may be
over it. A part of the timeout enforcer, for which the size is another limit.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowd import log
from gflowd.core.execution import log_trimming
from gflowd.effects.attempt import joblog

if TYPE_CHECKING:
    from gflowd.effects.shared_mode.as_user import Task
    from gflowd.effects.shared_mode.job_groups import JobGroups
    from gflowd.paths import State

Key = tuple[int, int]
AT_ONCE = 64  # processes that cut logs of other users', of each user one: its user may stop it, and then it takes long
SOON = 0.05  # seconds between looks whether they have
LONG = 1.0  # seconds that one may take until they are as far apart


@dataclass(slots=True)
class _Seen:
    """A log at the last check; times are monotonic."""

    size: int
    at: float
    due: float
    troubled: bool = False


@dataclass(frozen=True, slots=True)
class _Cut:
    """A process that cuts a log as its user; `since` is monotonic."""

    task: Task
    seen: _Seen
    uid: int
    since: float


class LogLimiter:
    """`limit` is in bytes. Files that `--output` and `--error` named are the user's and not checked. With `groups`, the
    logs are other users', and cut by processes of theirs.
    """

    def __init__(self, state: State, limit: int, groups: JobGroups | None = None) -> None:
        self._state = state
        self._limit = limit
        self._groups = groups
        self._log = log.get("timeout_enforcer")
        self._seen: dict[Key, _Seen] = {}
        self._cutting: dict[Key, _Cut] = {}

    def look(self, keys: set[Key], mono: float) -> float | None:
        """Cuts logs over the limit, including jobs just gone; returns when to check again, None without jobs."""
        for key in [key for key, cut in self._cutting.items() if cut.task.is_over()]:
            cut = self._cutting.pop(key)
            if cut.task.has_failed:
                self._complain(key, cut.seen, "as its user")
        for key in self._seen.keys() - keys:
            if not self._must_wait(key):
                self._trim(key, self._seen.pop(key))
        for key in keys:
            seen = self._seen.setdefault(key, _Seen(0, mono, mono))
            if mono >= seen.due:
                self._look(key, seen, mono)
        dues = [seen.due for key, seen in self._seen.items() if key in keys]
        if self._cutting or len(dues) < len(self._seen):
            dues.append(mono + (SOON if any(mono - cut.since < LONG for cut in self._cutting.values()) else LONG))
        return min(dues, default=None)

    def _look(self, key: Key, seen: _Seen, mono: float) -> None:
        size = self._size(key)
        rate = (size - seen.size) / (mono - seen.at) if mono > seen.at else 0.0
        if size > self._limit:
            size -= self._trim(key, seen)
        seen.size, seen.at = size, mono
        seen.due = mono + log_trimming.next_look(size, self._limit, rate)

    def _size(self, key: Key) -> int:
        directory = self._state.own_attempt(*key)
        if self._groups is None:
            return joblog.size(directory) or 0
        from gflowd.effects.shared_mode import user_files  # of no use to others

        found = user_files.found(directory, "log")
        return found.st_size if found is not None and stat.S_ISREG(found.st_mode) else 0

    def _trim(self, key: Key, seen: _Seen) -> int:
        """Cuts a log; returns by how many bytes, as far as that is known already."""
        try:
            if self._groups is not None:
                self._trim_as_user(key, seen, self._groups)
                return 0
            cut = joblog.trim(self._state.attempt(*key), self._limit)
        except FileNotFoundError:  # it wrote nothing, or never began
            return 0
        except OSError as error:
            self._complain(key, seen, error.strerror)
            return 0
        if cut:
            self._log.debug("cut a log", job=key[0], attempt=key[1], bytes=cut)
        return cut

    def _trim_as_user(self, key: Key, seen: _Seen, groups: JobGroups) -> None:
        """Begins to. Raises OSError."""
        from gflowd.effects.shared_mode.as_user import Task  # of no use to others

        if self._size(key) <= self._limit or self._must_wait(key):
            return
        own = self._state.own_attempt(*key)
        owner = os.lstat(own)  # root has made it
        task = Task("cut", (own, str(self._limit)), (owner.st_uid, owner.st_gid), groups)
        self._cutting[key] = _Cut(task, seen, owner.st_uid, time.monotonic())

    def _must_wait(self, key: Key) -> bool:
        """Whether a log cannot be cut yet by its user."""
        if not self._cutting:
            return False
        if key in self._cutting or len(self._cutting) >= AT_ONCE:
            return True
        try:
            uid = os.lstat(self._state.own_attempt(*key)).st_uid
        except OSError:  # there is nothing to cut
            return False
        return any(cut.uid == uid for cut in self._cutting.values())

    def _complain(self, key: Key, seen: _Seen, why: str | None) -> None:
        if not seen.troubled:
            self._log.warning("cannot cut a log", job=key[0], attempt=key[1], why=why)
        seen.troubled = True
