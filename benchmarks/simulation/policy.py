"""What a policy is asked, and what it tells of when jobs start."""

from __future__ import annotations

from typing import NamedTuple, Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulation.workload import Job

DAY = 86400.0
SUPPOSED = DAY  # seconds that a job without a limit counts as, where nothing is predicted
OVERDUE = 1.0  # seconds in which a job is expected to end that has run as long as it should


class Told(NamedTuple):
    """When a job starts at the latest (seconds); `certain`: limits alone allow it. Otherwise it is an estimate."""

    at: float
    certain: bool


class Policy(Protocol):
    """Decides which jobs start on the GPUs of one machine, and keeps its own books. Times are in seconds."""

    def submit(self, job: Job, at: float) -> None:
        """A job has come."""

    def ended(self, job: Job, at: float) -> None:
        """A job that was started has ended."""

    def decide(self, now: float) -> list[Job]:
        """Those that start now, whose GPUs are theirs from now on."""

    def promises(self) -> Mapping[int, Told]:
        """What jobs that wait have been told, as of the last decision, by id."""


def supposed(job: Job) -> float:
    """The seconds that a job counts as, where nothing is predicted."""
    return SUPPOSED if job.limit is None else job.limit
