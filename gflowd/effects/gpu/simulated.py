"""GPU drivers with a common interface: the simulated one is here, NVML in `effects.gpu.nvml`."""

from __future__ import annotations

from typing import Protocol

from gflowd.core.gpu.device import Gpu


class Driver(Protocol):
    """The interface of a GPU driver."""

    def poll(self) -> tuple[Gpu, ...]:
        """Every GPU as it is now, by index. May block; only the poller calls it. Raises `faults.DriverFailed`."""

    def close(self) -> None:
        """Releases the driver. May block."""


class Simulated:
    """`count` imaginary GPUs of `memory_mb` MiB, for trying gflow, for tests and for teaching.

    They are linked in pairs, so that the choice of GPUs can be seen.
    """

    def __init__(self, count: int, memory_mb: int) -> None:
        self._gpus = tuple(
            Gpu(
                index=index,
                uuid=f"GPU-simulated-{index}",
                model="Simulated GPU",
                memory_mb=memory_mb,
                simulated=True,
                links=tuple(_link(index, other) for other in range(count)),
            )
            for index in range(count)
        )

    def poll(self) -> tuple[Gpu, ...]:
        """The same idle GPUs, always."""
        return self._gpus

    def close(self) -> None:
        """Nothing to close."""


def _link(index: int, other: int) -> str:
    return "X" if index == other else "NV4" if index // 2 == other // 2 else "SYS"
