"""An array as sbatch(1) takes it where its indices are bounded (MaxArraySize of slurm.conf): in parts, each with
indices from 0. A part's offset is a multiple of a power of ten, so that the names of files keep their digits.
"""

from __future__ import annotations

import re

from gflowctl.view import jobs
from gflowd.core.job.value_base import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from gflowd.core.job.model import Job

USUAL = 1001  # MaxArraySize, unless slurm.conf says otherwise
_INDEX = re.compile(r"%%|%([0-9]*)a")


class Part(Value):
    """Elements of an array, or a job in none. `offset`: to be added to an index there; `step`: from one offset to the
    next, 0 where there is only one part; `limit`: how many run at a time.
    """

    __slots__ = ("found", "limit", "offset", "step")

    def __init__(self, found: Sequence[Job], *, offset: int = 0, step: int = 0, limit: int | None = None) -> None:
        self.found: Final = found
        self.offset: Final = offset
        self.step: Final = step
        self.limit: Final = limit

    @property
    def name(self) -> str:
        """By which its script is called: `42`, or `42.1000`."""
        first = self.found[0]
        return named(first.array_id or first.id, self.offset)

    @property
    def indices(self) -> list[int]:
        """Those of its elements, there."""
        return sorted((jobs.index(job) or 0) - self.offset for job in self.found)

    def pattern(self, text: str) -> str:
        """The name of a file with `%a` in it, as it is there."""
        return text if not self.offset else _INDEX.sub(self._of_index, text)

    def _of_index(self, match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        digits = len(str(self.step)) - 1
        head = str(self.offset // self.step).zfill(int(match[1] or 0) - digits)
        return f"{head}%{digits}a" if digits else head


def named(array_id: int, offset: int) -> str:
    """What a part is called."""
    return f"{array_id}.{offset}" if offset else str(array_id)


def parts(found: Sequence[Job], max_array: int, *, in_line: bool) -> list[Part]:
    """A job, or these elements of one array. `in_line`: one part waits for the other, so that each may have the whole
    limit of what runs at a time; else they share it.
    """
    family = found[0].spec.family
    limit = None if family is None else family.max_concurrent
    if max((jobs.index(job) or 0 for job in found), default=0) < max_array:
        return [Part(found, limit=limit)]
    step = int("1".ljust(len(str(max_array)), "0"))
    by_offset: dict[int, list[Job]] = {}
    for job in found:
        index = jobs.index(job) or 0
        by_offset.setdefault(index - index % step, []).append(job)
    if limit is not None and not in_line:
        limit = max(1, limit // len(by_offset))
    return [Part(some, offset=at, step=step, limit=limit) for at, some in sorted(by_offset.items())]


def variables(array_id: int, split: Mapping[int, Sequence[Part]], index: int | None, offset: int | None) -> list[str]:
    """The numbers there of what was `split`, as variables of the shell: of one element, of the part with this offset,
    or of all parts.
    """
    found = split.get(array_id, ())
    step = found[0].step if found else 0
    if index is not None:
        at = index - index % step if step else 0
        return [f"${{{variable(array_id, at)}}}_{index - at}"]
    offsets = [part.offset for part in found] if step else [0]
    return [f"${{{variable(array_id, at)}}}" for at in offsets if offset is None or at == offset]


def variable(array_id: int, offset: int) -> str:
    """The name of a variable."""
    return f"job{named(array_id, offset).replace('.', '_')}"
