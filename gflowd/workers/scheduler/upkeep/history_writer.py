"""The history, opened by the scheduler's process: created when first needed, and again if it was lost.

A damaged one is set aside. Knows nothing of how jobs get there.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from gflowd import log
from gflowd.core.errors import GflowError, SystemFailed
from gflowd.core.job import arrays
from gflowd.core.queue.archived_jobs import Archive
from gflowd.core.queue.dependency_rules import UNKNOWN, Outcome

if TYPE_CHECKING:
    from gflowd.core.job.arrays import Family
    from gflowd.storage.history import Entry, History, Sheet

MOST_REMEMBERED = 10_000  # outcomes


class HistoryWriter(Archive):
    """The scheduler's past. SQLite is imported when there is one."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._log = log.get("scheduler")
        self._history: History | None = None
        self._outcomes: dict[tuple[int, bool], Outcome] = {}
        self._trouble: str | None = None
        self._may_count = True
        if os.path.lexists(path):
            try:
                self._open()
            except GflowError as error:
                self.report(error)

    def outcome(self, job_id: int, *, whole: bool) -> Outcome:
        """See `Archive`. While the history cannot be read, the job is to be waited for."""
        key = job_id, whole
        if key not in self._outcomes:
            try:
                found = self._look_up(job_id, whole=whole)
            except GflowError as error:
                self.report(error)
                return Outcome()
            if len(self._outcomes) >= MOST_REMEMBERED:
                self._outcomes.clear()
            self._outcomes[key] = found
        return self._outcomes[key]

    def family(self, array_id: int) -> Family | None:
        """See `Archive`."""
        try:
            spec = self._open().spec(array_id) if self._is_there() else None
        except GflowError as error:
            self.report(error)
            return None
        return arrays.from_json(spec["family"]) if spec is not None and "family" in spec else None

    def _look_up(self, job_id: int, *, whole: bool) -> Outcome:
        if job_id < 1 or not self._is_there():
            return UNKNOWN
        history = self._open()
        found = (history.outcome(job_id, whole=True) if whole else None) or history.outcome(job_id, whole=False)
        if found is None:
            return UNKNOWN
        jobs, finished, begun_at = found
        return Outcome(jobs=jobs, begun=jobs, begun_at=begun_at, ended=jobs, finished=finished)

    def write(self, entries: list[tuple[int, Entry]], sheets: list[Sheet]) -> None:
        """As `History.write`, into the file that all read."""
        history = self._open()
        history.write(entries, sheets)
        if not history.is_in_place():
            raise SystemFailed(f"{self._path} was removed")
        self._outcomes.clear()
        self._trouble = None
        self._may_count = True

    def count_some(self) -> bool:
        """As `History.count_some`; costs nothing when all is counted."""
        self._may_count = self._may_count and self._is_there() and self._open().count_some()
        return self._may_count

    def forget(self, before: float, most: int) -> bool:
        """As `History.forget`."""
        return self._is_there() and self._open().forget(before, most)

    def report(self, error: GflowError | OSError) -> None:
        """Logs what failed, once; sets aside what is damaged."""
        if str(error) != self._trouble:
            self._log.error("history", why=str(error))
        self._trouble = str(error)
        if getattr(error, "damaged", False):
            self.close()
            try:
                self._set_aside()
            except SystemFailed as another:
                self.report(another)

    def close(self) -> None:
        """It is opened again when it is needed."""
        if self._history is not None:
            with contextlib.suppress(GflowError):
                self._history.close()
            self._history = None

    def _is_there(self) -> bool:
        return os.path.exists(self._path)

    def _open(self) -> History:
        from gflowd.storage.history import History, HistoryFailed

        if self._history is not None and not self._history.is_in_place():
            self._log.error("the history is gone", path=self._path)
            self.close()
        if self._history is None:
            try:
                self._history, self._may_count = History(self._path, write=True), True
            except HistoryFailed as error:
                if not error.damaged:
                    raise
                self._set_aside()
                self._history = History(self._path, write=True)
        return self._history

    def _set_aside(self) -> None:
        from gflowd.storage.history import set_aside

        try:
            kept = set_aside(self._path)
        except OSError as error:
            raise SystemFailed(f"{self._path}: {error.strerror}") from error
        self._log.error("the history was damaged; a new one was created", kept=kept)
