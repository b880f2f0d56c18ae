"""What the machine has, and which requests it can never meet. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowd.core import memory
from gflowd.core.requests import suits

if TYPE_CHECKING:
    from gflowd.core.model import Spec


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU as the planner knows it; memory in MiB, `used_mb` what is really in use on it now."""

    index: int
    model: str = ""
    memory_mb: int = 0
    used_mb: int = 0

    def suits(self, spec: Spec) -> bool:
        """Whether it is of the type, and has the memory, that a job asks for."""
        return suits(spec, self.model, self.memory_mb)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the machine has: `gpus` by ascending index, or None while nobody has looked; memory in MiB.

    `cut_up`: a GPU is in MIG mode, so that tomorrow there may be other GPUs.
    """

    gpus: tuple[Device, ...] | None
    cpus: int
    memory_mb: int
    cut_up: bool = False


def why_impossible(spec: Spec, capacity: Capacity) -> str | None:
    """Why the machine can never run this, or None when it can."""
    if spec.gpus and capacity.gpus is not None and not capacity.cut_up:
        if spec.gpus > len(capacity.gpus):
            return f"{spec.gpus} GPU{'s' * (spec.gpus > 1)} asked for, the machine has {len(capacity.gpus)}"
        suitable = sum(device.suits(spec) for device in capacity.gpus)
        if spec.gpus > suitable:
            return (
                f"{spec.gpus} GPU{'s' * (spec.gpus > 1)}{_constraint(spec)} asked for, the machine has {suitable} such"
            )
    if spec.cpus > capacity.cpus:
        return f"{spec.cpus} CPU{'s' * (spec.cpus > 1)} asked for, the machine has {capacity.cpus}"
    if (spec.memory_mb or 0) > capacity.memory_mb:
        return (
            f"{memory.show(spec.memory_mb or 0)} of memory asked for, the machine has {memory.show(capacity.memory_mb)}"
        )
    return None


def _constraint(spec: Spec) -> str:
    """` of type a100 with 40G of memory`."""
    kind = "" if spec.gpu_type is None else f" of type {spec.gpu_type}"
    return kind if spec.gpu_memory_mb is None else f"{kind} with {memory.show(spec.gpu_memory_mb)} of memory"
