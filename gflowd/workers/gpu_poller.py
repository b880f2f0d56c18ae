"""Looks at the GPUs, on the poll interval and when the scheduler asks for a fresh look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gflowd.effects.gpus import Driver, NoDriver, Simulated
from gflowd.workers.base import Turn

if TYPE_CHECKING:
    from gflowd.core.moment import Moment
    from gflowd.workers.base import Wiring


def open(wiring: Wiring) -> GpuPoller:  # noqa: A001 -- the workers' protocol
    """The poller with the driver that the configuration asks for."""
    simulate = wiring.config.simulate
    return GpuPoller(NoDriver() if simulate is None else Simulated(*simulate), wiring.config.poll_interval)


class GpuPoller:
    """Decision: when the last look that was asked for began, and what may be given away. Detail: everything seen."""

    def __init__(self, driver: Driver, interval: float) -> None:
        self._driver = driver
        self._interval = interval
        self._begun = float("-inf")
        self._answered = float("-inf")
        self._seen: Any = ()

    def tick(self, now: Moment, slots: dict[str, Any]) -> Turn:
        """Polls when it is time to, or when the scheduler wants to know about a later moment than the last look."""
        wanted = poll_after(slots)
        if now.mono >= self._begun + self._interval or (wanted is not None and wanted > self._begun):
            self._begun = now.mono
            self._seen = self._driver.poll()
        if wanted is not None:
            self._answered = self._begun
        inventory = tuple((gpu.index, gpu.uuid, gpu.processes) for gpu in self._seen)
        return Turn((self._answered, inventory), (self._begun, self._seen), self._begun + self._interval)

    def close(self) -> None:
        """Nothing to close."""


def poll_after(slots: dict[str, Any]) -> float | None:
    """The monotonic time that the scheduler wants a look begun after."""
    slot = slots.get("scheduler")
    return None if slot is None else slot[0].poll_after
