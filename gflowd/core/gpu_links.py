"""How two GPUs are joined, in the words of `nvidia-smi topo`, from what NVML tells of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SELF, UNKNOWN = "X", "?"
WAYS = {0: "PIX", 10: "PIX", 20: "PXB", 30: "PHB", 40: "NODE", 50: "SYS"}  # nvmlGpuTopologyLevel_t


@dataclass(frozen=True, slots=True)
class Ends:
    """What a GPU tells of its links: its own PCI address, those at the far ends of its active NVLinks, and by UUID
    whether NVLink reaches another GPU, and how near they are on PCI (`WAYS`).
    """

    address: object = None
    far: Sequence[object] = ()
    reaches: Mapping[str, bool] = field(default_factory=dict)
    ways: Mapping[str, int] = field(default_factory=dict)


def words(ends: Mapping[str, Ends]) -> dict[str, tuple[str, ...]]:
    """The links of each GPU, by UUID, to all of `ends` in their order."""
    return {uuid: tuple(_word(uuid, mine, other, ends[other]) for other in ends) for uuid, mine in ends.items()}


def _word(uuid: str, mine: Ends, other: str, its: Ends) -> str:
    if uuid == other:
        return SELF
    if direct := mine.far.count(its.address):
        return f"NV{direct}"
    if mine.far and mine.reaches.get(other, False):
        return f"NV{len(mine.far)}"  # through switches, which are at the far end of every link
    return WAYS.get(mine.ways.get(other, -1), UNKNOWN)
