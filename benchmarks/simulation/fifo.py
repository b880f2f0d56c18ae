"""First come, first served: the first job that does not fit holds up all others. Promises nothing."""

from __future__ import annotations

from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulation.policy import Told
    from simulation.workload import Job


class Fifo:
    """A policy."""

    def __init__(self, gpus: int) -> None:
        self._free = gpus
        self._queue: deque[Job] = deque()

    def submit(self, job: Job, at: float) -> None:  # noqa: ARG002 -- time does not matter here
        self._queue.append(job)

    def ended(self, job: Job, at: float) -> None:  # noqa: ARG002 -- time does not matter here
        self._free += job.gpus

    def decide(self, now: float) -> list[Job]:  # noqa: ARG002 -- time does not matter here
        starts = []
        while self._queue and self._queue[0].gpus <= self._free:
            starts.append(self._queue.popleft())
            self._free -= starts[-1].gpus
        return starts

    def promises(self) -> Mapping[int, Told]:
        return {}
