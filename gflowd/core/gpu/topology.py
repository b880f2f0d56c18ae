"""How two GPUs are linked, in the terms of `nvidia-smi topo`, from what NVML reports. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SELF, SAME_CARD, UNKNOWN = "X", "MIG", "?"
WAYS = {0: "PIX", 10: "PIX", 20: "PXB", 30: "PHB", 40: "NODE", 50: "SYS"}  # nvmlGpuTopologyLevel_t


@dataclass(frozen=True, slots=True)
class Ends:
    """What a GPU reports about its links: its own PCI address, the addresses at the far ends of its active NVLinks, and
    for each other GPU, by UUID, whether NVLink reaches it and how near it is on PCI (`WAYS`).
    """

    address: object = None
    far: Sequence[object] = ()
    reaches: Mapping[str, bool] = field(default_factory=dict)
    ways: Mapping[str, int] = field(default_factory=dict)


def words(cards: Mapping[str, str], ends: Mapping[str, Ends]) -> dict[str, tuple[str, ...]]:
    """The links of each of `cards`, by UUID, to all of them in their order. `cards` says of each which GPU it is (a
    part of), `ends` what that GPU tells. MIG devices have no NVLink.
    """
    return {
        uuid: tuple(
            SELF
            if uuid == other
            else _word(ends[card], its_card, ends[its_card], whole=(uuid, other) == (card, its_card))
            if card != its_card
            else SAME_CARD
            for other, its_card in cards.items()
        )
        for uuid, card in cards.items()
    }


def _word(mine: Ends, other: str, its: Ends, *, whole: bool) -> str:
    if whole and (direct := mine.far.count(its.address)):
        return f"NV{direct}"
    if whole and mine.far and mine.reaches.get(other, False):
        return f"NV{len(mine.far)}"  # through switches, which are at the far end of every link
    return WAYS.get(mine.ways.get(other, -1), UNKNOWN)
