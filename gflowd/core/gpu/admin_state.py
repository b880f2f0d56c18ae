"""The administrator's orders for GPUs: allowed, drained, ignored, resumed. Reads the settings of the snapshot. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gflowd.core.gpu.device import Gpu

ALLOW, DRAINED, IGNORED, RESUMED = "gpus.allow", "gpus.drained", "gpus.ignored", "gpus.resumed"

Ignored = tuple[str, int, int]  # the GPU's uuid, the process's pid and its start in clock ticks since boot


@dataclass(frozen=True, slots=True)
class Resumed:
    """A faulty GPU that was resumed: its UUID, when (seconds since the epoch), the memory errors accepted."""

    uuid: str
    at: float
    accepted: int


@dataclass(frozen=True, slots=True)
class AdminState:
    """`allowed`: indices, None for all; `drained`: why, by uuid."""

    allowed: Collection[int] | None = None
    drained: Mapping[str, str | None] = field(default_factory=dict)
    ignored: Collection[Ignored] = ()
    resumed: tuple[Resumed, ...] = ()

    def drained_as(self, gpu: Gpu) -> str | None:
        """The UUID under which a GPU is drained: its own, or that of the GPU that it is a part of."""
        return next((uuid for uuid in (gpu.uuid, gpu.card) if uuid in self.drained), None)


def read(settings: Mapping[Any, Any], configured: Collection[int] | None, boot: str) -> AdminState:
    """The orders in force. `configured` is what the configuration allows, which `gpus allow` replaces."""
    allow = settings.get(ALLOW)
    return AdminState(
        allowed=configured if allow is None else allow["gpus"],
        drained={uuid: order["reason"] for uuid, order in (settings.get(DRAINED) or {}).items()},
        ignored=frozenset(
            (order["gpu"], order["pid"], order["start"])
            for order in settings.get(IGNORED) or ()
            if order["boot"] == boot
        ),
        resumed=tuple(
            Resumed(uuid, order["at"], order["ecc"] if order["boot"] == boot else 0)
            for uuid, order in sorted((settings.get(RESUMED) or {}).items())
        ),
    )
