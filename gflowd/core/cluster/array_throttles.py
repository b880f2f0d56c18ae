"""How many of a limited array may run at a time in each of the batches in which a cluster has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HELD = 0  # none: for Slurm, whose throttle of 0 is none at all, its elements that wait are held


def shares(limit: int | None, sizes: Iterable[int]) -> list[int | None]:
    """Of each batch, by how many of its attempts have not ended; those that were handed over first come first. They add
    up to the limit at most. None: any number.
    """
    found: list[int | None] = []
    left = limit
    for size in sizes:
        share = None if left is None else max(HELD, min(size, left))
        left = None if left is None or share is None else left - share
        found.append(share)
    return found


def is_kept(size: int, told: int | None, share: int | None) -> bool:
    """Whether a batch that was `told` how many may run at a time keeps to its share without being told again."""
    if share is None:
        return told is None
    return min(size, size if told is None else told) == share


def orders(cluster_id: str, told: int | None, share: int | None, *, alone: bool) -> Sequence[tuple[str, ...]]:
    """The words for a batch that was `told` one number and is to keep to another. `alone`: it is no array."""
    if share == HELD:
        return (("scontrol", "hold", cluster_id),)
    number = HELD if share is None else share
    update = () if alone else (("scontrol", "update", f"JobId={cluster_id}", f"ArrayTaskThrottle={number}"),)
    return (*update, ("scontrol", "release", cluster_id)) if told == HELD else update


def is_told(status: int | None, complaint: str) -> bool:
    """Whether an order was carried out. For a batch of which something has ended scontrol fails, and says so of that
    (`1_0-1: Job has already finished`), and `No error` of the rest.
    """
    said = [line.rpartition(": ")[2] for line in complaint.splitlines()]
    return status == 0 or (bool(said) and {*said} <= {"No error", "Job has already finished"})
