"""GPUs, through drivers of one shape: none, simulated, and (to come) NVML."""

from __future__ import annotations

from typing import Protocol

from gflowd.core.model import Gpu


class Driver(Protocol):
    """What a GPU driver tells."""

    def poll(self) -> tuple[Gpu, ...]:
        """Every GPU as it is now, by index. May block; the poller alone calls it."""


class NoDriver:
    """A machine without GPUs."""

    def poll(self) -> tuple[Gpu, ...]:
        """Nothing."""
        return ()


class Simulated:
    """`count` GPUs of `memory_mb` MiB that exist only in name, for trying gflow, for tests and for teaching."""

    def __init__(self, count: int, memory_mb: int) -> None:
        self._gpus = tuple(
            Gpu(
                index=index,
                uuid=f"GPU-simulated-{index}",
                model="Simulated GPU",
                memory_mb=memory_mb,
                simulated=True,
            )
            for index in range(count)
        )

    def poll(self) -> tuple[Gpu, ...]:
        """The same idle GPUs, always."""
        return self._gpus
