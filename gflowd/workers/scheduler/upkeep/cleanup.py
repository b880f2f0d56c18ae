"""Removes what is no longer needed: directories of jobs that ended long ago, unused environments and scripts, marks of
submissions that are no longer in the snapshot, files that were never finished.

A job that has left the snapshot is as old as its directories. Environments and scripts are as old as their last use:
submissions and the archiver touch them, so that jobs can be redone within that time.
"""

from __future__ import annotations

import contextlib
import os
import stat
from itertools import islice
from typing import TYPE_CHECKING, Any

from gflowd import log, paths
from gflowd.core.job.records import PHASE, SPEC, has_ended
from gflowd.workers.scheduler.upkeep import removals

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gflowd.core.moment import Moment
    from gflowd.core.queue.job_queue import JobQueue
    from gflowd.effects.shared_mode.job_groups import JobGroups
    from gflowd.paths import State
    from gflowd.storage.record_log import Fold
    from gflowd.workers.scheduler.upkeep.removals import Running

LOOKS = 500  # directories at a time
REMOVALS = 50
MARKS = 1000  # at a time: the rest in the next round
PAUSE = 0.5  # seconds between checks whether they are done
ATTEMPTS = 1000  # jobs whose age is checked
LONGEST_PACE = 3600.0  # seconds from one round to the next
FIRST = 60.0  # seconds after the start
YOUNGEST = 86400.0  # seconds: an environment may exist before its job does


def pace(keep: float) -> float:
    """How often to search for what is older than `keep` seconds."""
    return min(LONGEST_PACE, max(1.0, keep / 10))


class Cleanup:
    """`wake_at`: when to be called next, on the monotonic clock. `groups`: of a daemon for many users; `places`: the
    directories of clusters.
    """

    def __init__(
        self, state: State, keep: float | None, groups: JobGroups | None = None, places: tuple[str, ...] = ()
    ) -> None:
        self._places = places
        self._state = state
        self._groups = groups
        self._keep = keep
        self._about, self._touch = removals.looks(groups)
        self._log = log.get("scheduler")
        self._round: Iterator[os.DirEntry[str]] | None = None
        self._removal: Running | None = None
        self._marks: Running | None = None  # a removal of marks
        self._stubborn: set[str] = set()  # what could not be removed, and was reported
        self.wake_at = float("inf") if keep is None else float("-inf")

    def touch(self, record: Mapping[str, Any]) -> None:
        """The environment and the script of a spec are in use now."""
        for path in self._contents(record):
            with contextlib.suppress(OSError):
                self._touch(path)

    def sweep(self, fold: Fold, job_queue: JobQueue, now: Moment) -> None:
        """Removes some of what is too old, if a round is due."""
        if self._keep is None or now.mono < self.wake_at:
            return
        if self.wake_at == float("-inf"):
            self.wake_at = now.mono + min(FIRST, pace(self._keep))
            return
        if any(each is not None and not each.is_over() for each in (self._removal, self._marks)):
            self.wake_at = now.mono + PAUSE
            return
        self._tell_what_stays()
        before = now.wall - self._keep
        if self._round is None:
            self._round = _entries(self._state.jobs)
        old: list[str] = []
        looked = 0
        for entry in islice(self._round, LOOKS):
            looked += 1
            if entry.name.isdecimal() and self._is_old(entry, fold, job_queue, before):
                old.append(entry.path)
                if len(old) >= REMOVALS:
                    break
        self._remove(old)
        self.wake_at = now.mono
        if len(old) < REMOVALS and looked < LOOKS:
            self._round = None
            self._sweep_contents(fold, min(before, now.wall - YOUNGEST))
            self.wake_at = now.mono + pace(self._keep)

    def _remove(self, directories: list[str]) -> None:
        """Removes directories with their content, in the background; links are not followed, but what gflow has put
        into the directories of clusters goes too.
        """
        directories = [*directories, *(there for path in directories for there in _remote(path, self._places))]
        try:
            self._removal = removals.of_jobs(directories, self._groups) if directories else None
        except OSError as error:
            self._log.warning("cannot remove", paths=len(directories), why=str(error))

    def _tell_what_stays(self) -> None:
        """Of the last removal; once."""
        left = set() if self._removal is None else set(self._removal.left())
        self._removal = None
        for path in sorted(left - self._stubborn):
            self._log.warning("cannot remove", path=path)
        self._stubborn |= left

    def _sweep_contents(self, fold: Fold, before: float) -> None:
        used = {path for record in fold.of(SPEC).values() for path in self._contents(record)}
        for directory in ("env", "scripts"):
            for place in self._places_of(directory):
                for entry in _entries(place):
                    if entry.path.removesuffix(".sh") not in used and entry.is_file(follow_symlinks=False):
                        with contextlib.suppress(OSError):
                            self._discard(entry.path, before)

        for entry in _entries(self._state.root):
            with contextlib.suppress(OSError):
                if paths.is_unfinished(entry.name) and self._about(entry.path).st_mtime < before:
                    os.unlink(entry.path)
        known = set(map(str, fold.of(SPEC))) | {str(record.get("batch")) for record in fold.of(SPEC).values()}
        if self._groups is not None:
            self._marks = None
            if old := removals.old_of_users(self._places_of("outputs"), known, before, MARKS):
                with contextlib.suppress(OSError):
                    self._marks = removals.of_users(old, self._groups)
            return
        for entry in _entries(self._state.kept("outputs")):
            if entry.name.partition(".")[0] not in known:
                with contextlib.suppress(OSError):
                    self._discard(entry.path, before)

    def _places_of(self, directory: str) -> Iterator[str]:
        """The directory of that name for all jobs; of many users, that of each."""
        if self._groups is None:
            yield self._state.kept(directory)
            return
        for user in _entries(self._state.users):
            if user.name.isdecimal():
                yield self._state.kept(directory, int(user.name))

    def _contents(self, record: Mapping[str, Any]) -> Iterator[str]:
        uid = record.get("uid")
        yield self._state.environment(record["env"], uid)
        if record.get("script") is not None:
            yield self._state.script(record["script"], uid)

    def _is_old(self, entry: os.DirEntry[str], fold: Fold, job_queue: JobQueue, before: float) -> bool:
        """Whether a job's directory belongs to one that ended `before`."""
        job_id = int(entry.name)
        if not entry.is_dir(follow_symlinks=False):
            return False
        if job_queue.spec_of(job_id) in fold.of(SPEC):
            raw = fold.of(PHASE).get(job_id)
            return raw is not None and has_ended(raw) and raw["ended_at"] < before and not job_queue.has(job_id)
        try:
            return max(self._about(path).st_mtime for path in (entry.path, *_inner(entry.path))) < before
        except OSError:
            return False

    def _discard(self, path: str, before: float) -> None:
        """Removes a file last used `before`; puts it back if a submission starts to use it at this moment."""
        if self._about(path).st_mtime >= before:
            return
        moved = f"{path}.old"
        os.rename(path, moved)
        if self._about(moved).st_mtime >= before:
            os.rename(moved, path)
        else:
            os.unlink(moved)


def _entries(directory: str) -> Iterator[os.DirEntry[str]]:
    """The content of one of our directories; empty if it is missing or a link."""
    try:
        if stat.S_ISDIR(os.lstat(directory).st_mode):
            with os.scandir(directory) as found:
                yield from found
    except OSError:
        return


def _remote(directory: str, places: tuple[str, ...]) -> list[str]:
    """The directories of a job that links to its attempts lead to, below one of `places`."""
    found: dict[str, None] = {}
    for path in _inner(directory) if places else ():
        with contextlib.suppress(OSError):
            there = os.path.dirname(os.readlink(path))
            is_ours = os.path.basename(there) == os.path.basename(directory) and os.path.normpath(there) == there
            if is_ours and any(there.startswith(f"{place}/") for place in places):
                found[there] = None
    return list(found)


def _inner(path: str) -> list[str]:
    with os.scandir(path) as found:
        return [entry.path for entry in islice(found, ATTEMPTS)]
