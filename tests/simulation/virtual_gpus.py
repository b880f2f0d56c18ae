"""GPUs that are made up: what computes on them, what is wrong with them, and a driver that takes its time to look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from virtual_clock import Clock
from virtual_jobs import Jobs

from gflowd.core.gpu.device import Gpu, GpuProcess
from gflowd.core.gpu.faults import DriverFailed

FOREIGN_PID = 50  # below those of jobs


@dataclass(slots=True)
class Card:
    """A GPU; `taken` and `faulty` end at a time of the run's clock."""

    index: int
    model: str
    memory_mb: int
    taken_until: float = 0.0  # by a stranger's process
    faulty_until: float = 0.0
    resident: int = 0  # MiB that no process accounts for

    @property
    def uuid(self) -> str:
        return f"GPU-virtual-{self.index}"


class Looking(BaseException):
    """A look has begun. It is answered when the driver is asked again, in the same tick begun anew.

    No `Exception`: what takes those must not take this. A tick must not have changed anything before it looks.
    """


class Driver:
    """The GPU poller's driver. `answers`: what it is asked next it answers at once."""

    def __init__(self, clock: Clock, jobs: Jobs, cards: list[Card]) -> None:
        self.cards = cards
        self.answers = False
        self.fails_until = 0.0
        self._clock = clock
        self._jobs = jobs

    def poll(self) -> tuple[Gpu, ...]:
        if not self.answers:
            raise Looking
        if self._clock.now < self.fails_until:
            raise DriverFailed("the driver does not answer")
        on: dict[int, list[GpuProcess]] = {}
        for index, process in self._computing():
            on.setdefault(index, []).append(process)
        return tuple(self._gpu(card, tuple(on.get(card.index, ()))) for card in self.cards)

    def close(self) -> None:
        pass

    def _computing(self) -> Iterator[tuple[int, GpuProcess]]:
        for attempt in self._jobs.living():
            process = attempt.on_gpus
            for index in attempt.gpus if process is not None else ():
                assert process is not None
                yield index, GpuProcess(pid=process.pid)
        for card in self.cards:
            if self._clock.now < card.taken_until:
                yield card.index, GpuProcess(pid=FOREIGN_PID + card.index)

    def _gpu(self, card: Card, processes: tuple[GpuProcess, ...]) -> Gpu:
        fault = "does not answer" if self._clock.now < card.faulty_until else None
        return Gpu(
            index=card.index,
            uuid=card.uuid,
            model=card.model,
            memory_mb=card.memory_mb,
            fault=fault,
            answers=fault is None,
            processes=() if fault else processes,
            used_mb=card.resident,
        )
