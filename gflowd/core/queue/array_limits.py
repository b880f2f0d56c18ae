"""The limits of arrays and sweeps: how many of their jobs may run at a time, and fail before the rest is cancelled.
Mutable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gflowd.core.job.model import FAILURES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gflowd.core.job.arrays import Family
    from gflowd.core.job.model import Job
    from gflowd.core.queue.job_records import JobRecords


class ArrayLimits:
    """Per array: the live jobs and the failed ones."""

    def __init__(self, records: JobRecords) -> None:
        self._records = records
        self.outside: set[int] = set()  # jobs that were skipped when the queue was last walked
        self._families: dict[int, Family] = {}
        self._live: dict[int, set[int]] = {}
        self._array_of: dict[int, int] = {}
        self._failed: dict[int, set[int]] = {}
        self._told: set[int] = set()  # exhausted arrays that were reported

    def note(self, array_id: int, family: Family | None) -> None:
        """Adds an array, or records that a spec is not one."""
        if family is not None:
            self._families[array_id] = family
        else:
            self._families.pop(array_id, None)
            self._failed.pop(array_id, None)
            self._told.discard(array_id)

    def rooms(self, *, native: bool = False) -> dict[int, int]:
        """How many more jobs of each limited array may start; forgets which were skipped before. `native`: the limit is
        kept by a cluster among those that are handed over to it, so that all may be once one might start.
        """
        if not native:
            self.outside.clear()
        found = {}
        for array_id, family in self._families.items():
            limit = self.limit(array_id, family)
            room = None if limit is None else max(0, limit - len(self._live.get(array_id, ())))
            if room is not None and not (native and room):
                found[array_id] = room
        return found

    def are_limited(self) -> bool:
        """Whether some array has a limit."""
        return any(
            family.max_failures is not None or self.limit(array_id, family) is not None
            for array_id, family in self._families.items()
        )

    def limit(self, array_id: int, family: Family) -> int | None:
        """How many jobs of an array may run at a time."""
        record = self._records.limits.get(array_id)
        limit: int | None = family.max_concurrent if record is None else record["max_concurrent"]
        return limit

    def left_out(self, job_id: int) -> None:
        """The first job of an array at its limit."""
        self.outside.add(job_id)

    def start(self, job: Job) -> None:
        """A job has resources."""
        if job.array_id is not None:
            self._live.setdefault(job.array_id, set()).add(job.id)
            self._array_of[job.id] = job.array_id

    def leave(self, job_id: int) -> None:
        """A job has none, or no more."""
        array_id = self._array_of.pop(job_id, None)
        if array_id is not None:
            self._live[array_id].discard(job_id)
            if not self._live[array_id]:
                del self._live[array_id]

    def see(self, array_id: int | None, job_id: int, phase: Mapping[str, Any] | None) -> None:
        """The phase record of a job, for the count of failures."""
        if array_id is None or self._families[array_id].max_failures is None:
            return
        failed = self._failed.setdefault(array_id, set())
        if phase is not None and phase.get("state") in FAILURES:
            failed.add(job_id)
        else:
            failed.discard(job_id)

    def exhausted(self) -> Iterator[int]:
        """The arrays that now have as many failed jobs as they may have, each once."""
        for array_id in self._failed:
            if self.too_many(array_id) is None:
                self._told.discard(array_id)
            elif array_id not in self._told:
                self._told.add(array_id)
                yield array_id

    def too_many(self, array_id: int) -> int | None:
        """How many jobs of an array have failed, if the limit is reached."""
        allowed = self._families[array_id].max_failures
        failed = len(self._failed.get(array_id, ()))
        return None if allowed is None or failed < allowed else failed
