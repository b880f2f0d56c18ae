"""The GPUs that exist or existed: one that does not respond, or is gone, stays in its place, faulty. Pure.

A GPU in MIG mode is represented by its MIG devices. These come and go with the configuration, and are
forgotten when the GPU responds without them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowd.core.gpu.device import Gpu
from gflowd.core.gpu.nvml_codes import GONE

if TYPE_CHECKING:
    from collections.abc import Iterable

Place = tuple[int, int, int, int]  # PCI domain, bus and device; then 0, or 1 and more for the MIG devices
Found = tuple[Place, Gpu]

NOWHERE = 1 << 32  # a PCI domain behind all others


@dataclass(frozen=True, slots=True)
class Answer:
    """The response of the GPU that the driver numbers `number`: its devices, or none and why.

    `card` is its UUID, None if never known; `whole` is the whole GPU, if known.
    """

    number: int
    card: str | None
    devices: tuple[Found, ...] = ()
    whole: Found | None = None
    fault: str = ""
    lasting: bool = False


class Inventory:
    """The GPUs that were there, by UUID. Mutable."""

    def __init__(self) -> None:
        self._known: dict[str, Found] = {}

    def __bool__(self) -> bool:
        """Whether any GPU has been seen."""
        return bool(self._known)

    def memory_mb(self, uuid: str) -> int:
        """What a GPU last had, in MiB."""
        return self._known[uuid][1].memory_mb if uuid in self._known else 0

    def call(self, answers: Iterable[Answer]) -> list[Gpu]:
        """All GPUs in PCI order, their indices not yet set."""
        seen: dict[str, Found] = {}
        nameless = []
        for answer in answers:
            if answer.devices:
                self._known = {uuid: each for uuid, each in self._known.items() if each[1].card != answer.card}
                self._known |= (told := {found[1].uuid: found for found in answer.devices})
                seen |= told
                continue
            was = self._silent(answer)
            if not was and answer.card is not None and answer.whole is not None:
                self._known[answer.card] = answer.whole
                was = self._silent(answer)
            seen |= was
            if not was:
                nameless.append(_unknown(answer))
        gone = [found for uuid, found in self._known.items() if uuid not in seen]
        lost = len({gpu.card for _, gpu in gone})
        listed = [*seen.values(), *((place, silent(gpu, GONE, lasting=True)) for place, gpu in gone), *nameless[lost:]]
        return [gpu for _, gpu in sorted(listed, key=lambda found: found[0])]

    def _silent(self, answer: Answer) -> dict[str, Found]:
        """The last known devices of a silent GPU."""
        return {
            uuid: (place, silent(gpu, answer.fault, lasting=answer.lasting))
            for uuid, (place, gpu) in self._known.items()
            if gpu.card == answer.card
        }


def silent(gpu: Gpu, fault: str, *, lasting: bool) -> Gpu:
    """A GPU that does not respond; only its old properties are known."""
    return Gpu(
        index=0,
        uuid=gpu.uuid,
        model=gpu.model,
        memory_mb=gpu.memory_mb,
        fault=fault,
        lasting=lasting,
        answers=False,
        parent=gpu.parent,
        instance=gpu.instance,
        minor=gpu.minor,
    )


def _unknown(answer: Answer) -> Found:
    gpu = Gpu(index=0, uuid=f"unknown-{answer.number}", model="unknown", memory_mb=0)
    return (NOWHERE, answer.number, 0, 0), silent(gpu, answer.fault, lasting=answer.lasting)
