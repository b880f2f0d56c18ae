"""What the machine has. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowd.core.request.gpu_match import is_meant, suits
from gflowd.core.request.validation import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowd.core.job.model import Spec


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU for the planner; memory in MiB, `used_mb` is what is actually in use, `foreign_mb` what of it our jobs do
    not use.
    """

    index: int
    model: str = ""
    memory_mb: int = 0
    used_mb: int = 0
    foreign_mb: int = 0

    def preference(self, prefer: Sequence[str]) -> int:
        """The place in `prefer` of the first word that means this GPU; behind all of them where none does."""
        meant = (place for place, word in enumerate(prefer) if is_meant(word, self.index, self.model))
        return next(meant, len(prefer))

    def suits(self, spec: Spec) -> bool:
        """Whether it is of the type, and has the memory, that a job asks for."""
        return suits(spec, self.model, self.memory_mb)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the machine has: `gpus` by ascending index, or None before the first poll; memory in MiB.

    `cut_up`: a GPU is in MIG mode, so the set of GPUs may change.
    """

    gpus: tuple[Device, ...] | None
    cpus: int
    memory_mb: int
    cut_up: bool = False

    @property
    def limits(self) -> Limits:
        """What requests are checked against."""
        known = None if self.cut_up else self.gpus
        models = None if known is None else tuple((device.model, device.memory_mb) for device in known)
        return Limits(
            gpus=None if models is None else len(models), gpu_models=models, cpus=self.cpus, memory_mb=self.memory_mb
        )
