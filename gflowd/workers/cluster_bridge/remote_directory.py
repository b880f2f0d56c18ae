"""Our part of a cluster's directory, by what is done there: files are written, read and removed. Each step runs in a
process of its own (`effects.cluster.reach`), since the directory may hang; this module knows nothing of that.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from itertools import islice
from typing import TYPE_CHECKING

from gflowd.effects import files
from gflowd.effects.attempt import jobdir
from gflowd.effects.cluster import attempt_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowd.core.execution.observations import Key, Observation
    from gflowd.core.job.model import Job, Run
    from gflowd.paths import State
    from gflowd.workers.cluster_bridge.remote_setup import RemoteSetup

AT_ONCE = 200  # names that are removed, or looked at to be linked again, in one step
LONGEST = 1.0  # seconds that a step goes on
LOGS = {"log", "log.cut"}
# What we write there, by folder: nothing else is removed.
ENVIRONMENT = re.compile(r"([0-9a-f]{32})\.sh", re.ASCII)
SCRIPT = re.compile(r"([0-9a-f]{32})", re.ASCII)
BATCH = re.compile(r"([1-9][0-9]{0,14})(?:\.[0-9]+)+\.sh", re.ASCII)
JOB = re.compile(r"([1-9][0-9]{0,14})(\.gone)?", re.ASCII)
NUMBER = re.compile(r"[1-9][0-9]{0,14}", re.ASCII)


class Place:
    """`state`: this machine's."""

    def __init__(self, directory: str, setup: RemoteSetup, state: State) -> None:
        self._directory = directory
        self._setup = setup
        self._state = state
        self._root = setup.place.root

    def is_shared_there(self) -> bool:
        """Whether the cluster's directory is there: one that is not mounted is not."""
        return os.path.isdir(self._directory)

    def is_there(self) -> bool:
        """Whether our part is: otherwise what is not in it says nothing."""
        return os.path.isdir(self._root)

    def prepare(self, job: Job, run: Run) -> None:
        """Writes all that an attempt needs. Raises OSError and `GflowError`."""
        self._setup.prepare(job, run)

    def write_script(self, path: str, content: bytes) -> None:
        """That of a batch. Raises OSError."""
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        files.replace(path, content, 0o700)

    def bar(self, key: Key, why: str) -> bool:
        """As `RemoteSetup.bar`."""
        return self._setup.bar(key, why)

    def mark(self, directory: str, step: str) -> bool:
        """As `jobdir.mark`. Raises OSError."""
        return jobdir.mark(directory, step)

    def seen(self, directory: str) -> Observation:
        """What an attempt has written, asked afresh."""
        attempt_files.look_afresh(directory)
        return attempt_files.observation(directory)

    def real_id(self, directory: str) -> str | None:
        """As `attempt_files.real_id`."""
        return attempt_files.real_id(directory)

    def link_again(self, after: int) -> int | None:
        """After a restore: lets the attempts of this machine that lead nowhere lead to those here, of jobs with an id
        above `after`; the last id that was done, None: all were. Raises OSError.
        """
        if not self.is_shared_there():
            raise FileNotFoundError(2, "there is no such directory", self._directory)
        limit = time.monotonic() + LONGEST
        ids = sorted(int(name) for name in _names(self._root, "jobs") if NUMBER.fullmatch(name) and int(name) > after)
        for job_id in ids[:AT_ONCE]:
            for name in filter(NUMBER.fullmatch, _names(self._root, "jobs", str(job_id))):
                _link(self._setup.place.attempt(job_id, int(name)), self._state.attempt(job_id, int(name)))
            after = job_id
            if time.monotonic() > limit:
                return after
        return after if len(ids) > AT_ONCE else None

    def sweep(self, live: set[int]) -> tuple[list[str], bool]:
        """Removes what no job of this machine needs any more, by the exact names that we give: environments, scripts,
        batches; directories of jobs only lose their names, and are returned to be removed. The second: there is more.
        A `live` job may have its directory there, and none here yet.
        """
        limit = time.monotonic() + LONGEST
        directories: list[str] = []
        for number, path in enumerate(self._leftovers(live)):
            if number == AT_ONCE or time.monotonic() > limit:
                return directories, True
            with contextlib.suppress(OSError):
                if os.path.dirname(path) != self._setup.place.jobs:
                    os.unlink(path)
                    continue
                gone = path if path.endswith(".gone") else f"{path}.gone"
                if gone != path:
                    os.rename(path, gone)
                directories.append(gone)
        return directories, False

    def _leftovers(self, live: set[int]) -> Iterator[str]:
        state = self._state
        for folder, pattern in (("env", ENVIRONMENT), ("scripts", SCRIPT), ("batches", BATCH), ("jobs", JOB)):
            for name in _names(self._root, folder):
                match = pattern.fullmatch(name)
                if match is None:
                    continue
                is_of_job = folder not in ("env", "scripts")
                if is_of_job and int(match[1]) in live:
                    continue
                ours = state.job(int(match[1])) if is_of_job else state.path(folder, match[1])
                if name.endswith(".gone") or not os.path.lexists(ours):
                    yield os.path.join(self._root, folder, name)


def _link(there: str, ours: str) -> None:
    """A directory that holds logs of a backup, and nothing else, makes room."""
    os.makedirs(os.path.dirname(ours), mode=0o700, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.symlink(there, ours)
        return
    if not os.path.islink(ours) and LOGS.issuperset(names := list(islice(_names(ours), len(LOGS) + 1))):
        for name in names:
            os.unlink(os.path.join(ours, name))
        os.rmdir(ours)
        os.symlink(there, ours)


def _names(*parts: str) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(os.path.join(*parts)) as found:
        for entry in found:
            yield entry.name
