"""Jobs as users of Slurm's programs name them: `12`, `12_3`, `12_[1-3,7]`, with sacct also `12.batch`."""

from __future__ import annotations

import re
from itertools import pairwise

from gflowd.core.errors import Refused
from gflowd.core.job import array_ids
from gflowd.core.job.value_base import Value
from gflowd.core.syntax import ranges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from gflowd.core.syntax.ranges import Ranges

MANY = 7  # indices that Slurm shows with a step
LEAST = 3  # characters that a cut list of indices keeps for dots
_WORD = re.compile(r"([0-9]{1,18})(?:\+[0-9]+)?(?:_(?:([0-9]{1,18})|\[([0-9,:\s-]+)(?:%[0-9]*)?\]))?(?:\.(\w+))?")


class Named(Value):
    """One word: the id, the indices of the elements if it names some, and the step if it names one."""

    __slots__ = ("id", "indices", "step")

    def __init__(self, id: int, indices: Ranges | None = None, step: str | None = None) -> None:  # noqa: A002
        self.id: Final = id
        self.indices: Final = indices
        self.step: Final = step


def parse(text: str) -> list[Named]:
    """The words of a list. Raises `Refused` with the first one that names no job."""
    found = []
    for word in array_ids.split(text):
        if not word:
            continue
        match = _WORD.fullmatch(word)
        if match is None:
            raise Refused(f"Invalid job id: {word}")
        wanted = match[2] or match[3]
        try:
            found.append(Named(int(match[1]), None if wanted is None else ranges.parse(wanted), match[4]))
        except Refused:
            raise Refused(f"Invalid job id: {word}") from None
    return found


def cut(indices: str, length: int) -> str:
    """A list of indices as squeue(1) cuts it to `length` characters and their end (SLURM_BITSTR_LEN); 0: not at all."""
    if length <= 0 or len(indices) + 2 < length:
        return indices
    return (indices[: max(0, length - 1 - LEAST)] + "." * LEAST)[: length - 1]


def indices(found: Sequence[int]) -> str:
    """Ascending indices as Slurm shows them: `1-3,7`, and with one step throughout, if they are many, `1-19:2`."""
    step = found[1] - found[0] if len(found) >= MANY else 1
    if step > 1 and all(later - earlier == step for earlier, later in pairwise(found)):
        return f"{found[0]}-{found[-1]}:{step}"
    parts = []
    first = last = found[0]
    for index in (*found[1:], None):
        if index is not None and index == last + 1:
            last = index
            continue
        parts.append(str(first) if first == last else f"{first}-{last}")
        first = last = found[0] if index is None else index
    return ",".join(parts)
