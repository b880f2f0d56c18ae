"""What is known about jobs that have left the snapshot. Here: nothing; the scheduler asks the history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowd.core.queue.dependency_rules import UNKNOWN, Outcome

if TYPE_CHECKING:
    from gflowd.core.job.arrays import Family


class Archive:
    """An archive without jobs."""

    def outcome(self, job_id: int, *, whole: bool) -> Outcome:  # noqa: ARG002 -- the base of others
        """How a job has ended; `whole`: the array with this id, if it is one."""
        return UNKNOWN

    def family(self, array_id: int) -> Family | None:  # noqa: ARG002 -- as above
        """The definition of an array; None if unknown, or not an array."""
        return None
