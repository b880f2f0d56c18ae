"""The directories in which jobs keep temporary files (TMPDIR): one for a job and all its attempts, until it has ended.

The directory around them has a random name, which the file `scratch` of the state directory holds before it exists. So
whoever comes next finds, and removes, what a killed process or a power cut has left.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING

from gflowd import log, paths
from gflowd.effects.attempt import jobdir, scratch
from gflowd.workers.scheduler.upkeep import removals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gflowd.effects.shared_mode.job_groups import JobGroups
    from gflowd.paths import State
    from gflowd.workers.scheduler.upkeep.removals import Running

OTHER_PLACES = ("/var/tmp",)  # noqa: S108 -- where none can be made in the place for them
FOR_ALL = ("/tmp", "/var/tmp")  # noqa: S108 -- no place for root, where there are many users
REMEMBERED = 20  # names
SOON = 0.1  # seconds between looks whether a removal is over
RETRY = 1.0  # seconds after one that could not begin


class Scratch:
    """Makes and removes them below `place`. Mutable: knows which there are, so that no tick has to look."""

    def __init__(self, state: State, place: str, groups: JobGroups | None = None) -> None:
        self._state = state
        self._groups = groups
        self._is_of_many = state.shared is not None
        self._record = state.path("scratch")
        self._log = log.get("scheduler")
        self._places = self._of_root(place) if self._is_of_many else (place, *OTHER_PLACES, state.root)
        self._parents = self._remembered()
        self._of_jobs = {
            int(name): os.path.join(parent, name)
            for parent in self._parents
            for name in scratch.content(parent, is_passable=self._is_of_many)
            if name.isascii() and name.isdecimal()
        }
        self._removal: Running | None = None
        self._leaving: tuple[int, ...] = ()  # the jobs whose directories are being removed
        self._stubborn: set[int] = set()  # could not be removed, and were reported

    def _of_root(self, place: str) -> tuple[str, ...]:
        """The places of a daemon for many users: none in which others may make, or have made, anything."""
        spool = os.path.dirname(self._state.jobs)  # and nowhere in what is root's
        if scratch.is_roots_alone(place):
            return place, spool
        if place not in FOR_ALL:  # which nobody has asked for
            self._log.warning("others may write there, so jobs have their temporary files elsewhere", path=place)
        return (spool,)

    def make(self, job_id: int, owner: tuple[int, int] | None = None) -> str:
        """The directory of a job, where an attempt finds what earlier ones left; `owner`, a uid and a gid, where it is
        for another user. Raises OSError.
        """
        failure = None
        for path in self._candidates(job_id):
            try:
                if scratch.make(path, owner, self._opener()):
                    self._of_jobs[job_id] = path
                    return path
            except OSError as error:
                failure = failure or error
        raise failure or FileExistsError(f"no place for temporary files of job {job_id}")

    def _opener(self) -> scratch.Opener:
        if not self._is_of_many:
            return os.open
        from gflowd.effects.shared_mode import user_files  # of no use to others

        return user_files.opened

    def sweep(self, is_needed: Callable[[int], bool], mono: float) -> float | None:
        """Removes those of jobs that no longer need them; returns when to look again, None if there is nothing to do
        before others end.
        """
        if self._removal is not None:
            if not self._removal.is_over():
                return mono + SOON
            self._settle(self._removal)
        over = [
            job
            for job in self._of_jobs
            if job not in self._stubborn and not is_needed(job) and not self._is_in_use(job)
        ]
        for parent in {os.path.dirname(self._of_jobs[job]) for job in over}:
            if not scratch.is_ours(parent, is_passable=self._is_of_many):
                self._give_up(parent)
        over = [job for job in over if job in self._of_jobs]
        full = [job for job in over if not scratch.remove_empty(self._of_jobs[job])]
        for job in over:
            if job not in full:
                del self._of_jobs[job]
        if not full:
            if over:
                self._leave()
            return None
        try:
            self._removal = self._remove([self._of_jobs[job] for job in full])
        except OSError as error:
            self._log.warning("cannot remove", paths=len(full), why=str(error))
            return mono + RETRY
        self._leaving = tuple(full)
        return mono + SOON

    def _remove(self, paths: list[str]) -> Running:
        if self._is_of_many and self._groups is None:
            raise OSError("what users have left is theirs to remove")
        return removals.of_users(paths, self._groups)

    def _give_up(self, parent: str) -> None:
        """Forgets what was in a directory that is gone or not ours any more: a link may lead anywhere from there."""
        self._of_jobs = {job: path for job, path in self._of_jobs.items() if os.path.dirname(path) != parent}
        if os.path.lexists(parent):
            self._log.warning("is not ours any more, nothing there is removed", path=parent)

    def _is_in_use(self, job_id: int) -> bool:
        """Whether a process of the job lives, although no record says so: a damaged snapshot may have lost it."""
        place = self._state.job(job_id)
        with contextlib.suppress(OSError):
            attempts = os.listdir(place)
            if self._groups is not None:
                numbers = [int(name) for name in attempts if name.isdecimal()]
                return any(self._groups.is_populated((job_id, number)) for number in numbers)
            return any(jobdir.is_held(os.path.join(place, attempt)) for attempt in attempts)
        return False

    def _settle(self, removal: Running) -> None:
        """After a removal: forgets what is gone, and reports the rest, once."""
        left = set(removal.left())
        for job in self._leaving:
            if self._of_jobs[job] in left:
                self._stubborn.add(job)
                self._log.warning("cannot remove", path=self._of_jobs[job])
            else:
                del self._of_jobs[job]
        self._removal, self._leaving = None, ()
        self._leave()

    def _leave(self) -> None:
        """Nothing of ours stays where no job has anything."""
        used = self._used()
        for parent in self._parents:
            if parent not in used:
                scratch.remove_empty(parent)

    def _used(self) -> set[str]:
        """The directories around those of jobs."""
        return {os.path.dirname(path) for path in self._of_jobs.values()}

    def _candidates(self, job_id: int) -> Iterator[str]:
        """Where it is already, else in the directories remembered, else in new ones: one place after the other."""
        if job_id in self._of_jobs and job_id not in self._leaving:
            yield self._of_jobs[job_id]
        for place in self._places:
            for parent in (*(each for each in self._parents if os.path.dirname(each) == place), None):
                yield os.path.join(parent or self._new(place), str(job_id))

    def _new(self, place: str) -> str:
        """The name of a new directory, remembered before it exists; of the others those in use and the latest are kept.
        Raises OSError.
        """
        fresh = os.path.join(place, f"gflow-{secrets.token_hex(4)}")
        used = self._used()
        latest = (*self._parents, fresh)[-REMEMBERED:]
        kept = [each for each in (*self._parents, fresh) if each in used or each in latest]
        paths.replace_file(self._record, "".join(f"{each}\n" for each in kept).encode(), durable=True)
        self._parents = kept
        return fresh

    def _remembered(self) -> list[str]:
        try:
            text = os.fsdecode(paths.read_private(self._record))
        except FileNotFoundError:
            return []
        return [line for line in text.splitlines() if line.startswith("/")]
