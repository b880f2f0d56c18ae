"""Which of the free GPUs a job gets: the lowest, random ones, or those closest to each other. Pure."""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gflowd.core.gpu.device import Gpu

SEQUENTIAL, RANDOM, TOPOLOGY = "sequential", "random", "topology"

FEW = 100  # sets that are compared one by one; if there are more, only each GPU's nearest are
NVLINK = 100  # closeness of one link; the ways over PCI are all less
# `nvidia-smi topo`: one switch ... across sockets; MIG devices of one GPU are together, so that others stay whole
PCI = {"MIG": 60, "PIX": 50, "PXB": 40, "PHB": 30, "NODE": 20, "SYS": 10}
_BITS = (1 << 64) - 1

Closeness = dict[tuple[int, int], int]  # of two indices, ascending; what is missing is 0


def closeness(gpus: Iterable[Gpu]) -> Closeness:
    """How close GPUs are to each other, by their links."""
    found = {}
    for gpu in gpus:
        for other, link in enumerate(gpu.links):
            if gpu.index < other:
                found[gpu.index, other] = _rank(link)
    return found


def _rank(link: str) -> int:
    if link.startswith("NV") and link[2:].isdigit():
        return NVLINK * int(link[2:])
    return PCI.get(link, 0)


def choose(
    candidates: Sequence[int], count: int, how: str, near: Mapping[tuple[int, int], int] | None, seed: int
) -> tuple[int, ...]:
    """`count` of `candidates`, which ascend and are enough. The same input gives the same GPUs, even at random: `seed`
    is what differs, such as the job's id.
    """
    if how == RANDOM:
        return tuple(sorted(sorted(candidates, key=lambda index: _scattered(seed, index))[:count]))
    if how == TOPOLOGY and near and 0 < count < len(candidates):
        return _closest(candidates, count, near)
    return tuple(candidates[:count])


def _scattered(seed: int, index: int) -> int:
    """A number that looks random: the finaliser of splitmix64 (Steele, Lea and Flood, 2014)."""
    mixed = (seed * 0x9E3779B97F4A7C15 + (index + 1) * 0xD1B54A32D192ED03) & _BITS
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _BITS
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _BITS
    return mixed ^ (mixed >> 31)


def _closest(candidates: Sequence[int], count: int, near: Mapping[tuple[int, int], int]) -> tuple[int, ...]:
    """The set with the greatest internal closeness; among equals, the one that separates the fewest close pairs."""
    sets: Iterable[tuple[int, ...]]
    if comb(len(candidates), count) <= FEW:
        sets = combinations(candidates, count)
    else:
        sets = (_around(first, candidates, count, near) for first in candidates)

    def merit(chosen: tuple[int, ...]) -> tuple[int, int, tuple[int, ...]]:
        within = sum(near.get(pair, 0) for pair in combinations(chosen, 2))
        torn = sum(_between(one, other, near) for one in chosen for other in candidates if other not in chosen)
        return -within, torn, chosen

    return min(sets, key=merit)


def _around(first: int, candidates: Sequence[int], count: int, near: Mapping[tuple[int, int], int]) -> tuple[int, ...]:
    """`first`, and one by one the GPU closest to those taken."""
    chosen = [first]
    while len(chosen) < count:
        rest = (index for index in candidates if index not in chosen)
        chosen.append(max(rest, key=lambda index: (sum(_between(index, one, near) for one in chosen), -index)))
    return tuple(sorted(chosen))


def _between(one: int, other: int, near: Mapping[tuple[int, int], int]) -> int:
    return near.get((min(one, other), max(one, other)), 0)
