"""Ranges of indices: `1-10`, `0-20:5`, `1,4,9`, stored as first, last and step."""

from __future__ import annotations

import re
from itertools import pairwise

from gflowd.core.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Range = tuple[int, int, int]  # first, last (inclusive) and step; a single index is (i, i, 1)
Ranges = tuple[Range, ...]

LARGEST = 999_999_999
FORMS = "such as 1-10, 0-20:5 or 1,4,9"
LONGEST_SHOWN = 40  # characters

_ITEM = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18})(?::([0-9]{1,18}))?)?")


def parse(text: str) -> Ranges:
    """`1-3,7-9:2` as it is written; indices may repeat. Raises `Refused` for anything else."""
    return tuple(_range(word.strip()) for word in text.split(","))


def _range(word: str) -> Range:
    match = _ITEM.fullmatch(word)
    if match is None:
        raise Refused(f"{short(word)} is not an index or range ({FORMS})")
    first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
    if last > LARGEST:
        raise Refused(f"index {last} is too large; the limit is {LARGEST}")
    if last < first:
        raise Refused(f"{short(word)} runs backwards; write the smaller index first")
    if step == 0:
        raise Refused(f"{short(word)} has a step of 0; the least is 1")
    return spanned(first, last, step)


def short(text: str) -> str:
    """`text` for an error message: in quotes, and shortened."""
    return repr(text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}...")


def spanned(first: int, last: int, step: int) -> Range:
    """The range from `first` in steps up to `last`, or to the last index before it."""
    last -= (last - first) % step
    return first, last, step if last > first else 1


def ascending(ranges: Ranges) -> Ranges:
    """The same indices in ascending order, the spans apart. Raises `Refused` for an index that is given twice.

    Only ranges whose spans overlap are compared index by index.
    """
    ordered: list[Range] = []
    tangle: list[Range] = []
    end = -1
    for item in sorted(ranges):
        if item[0] > end:
            ordered += _untangled(tangle)
            tangle = []
        tangle.append(item)
        end = max(end, item[1])
    return (*ordered, *_untangled(tangle))


def merged(ranges: Iterable[Range]) -> Ranges:
    """The same indices in ascending order, each once. Few ranges, of few indices where they overlap."""
    try:
        return ascending(tuple(spanned(*each) for each in ranges))
    except Refused:
        return tuple(compact(sorted({index for first, last, step in ranges for index in range(first, last + 1, step)})))


def _untangled(ranges: Sequence[Range]) -> Iterable[Range]:
    if len(ranges) < 2:
        return ranges
    indices = sorted(index for first, last, step in ranges for index in range(first, last + 1, step))
    for index, following in pairwise(indices):
        if index == following:
            raise Refused(f"index {index} is given twice")
    return compact(indices)


def length(span: Range) -> int:
    """How many indices a range has."""
    first, last, step = span
    return (last - first) // step + 1


def compact(indices: Iterable[int]) -> Iterator[Range]:
    """`indices`, which ascend, as ranges; two with a gap between them stay two."""
    rest = iter(indices)
    for first in rest:
        last, gap = first, 0
        for index in rest:
            if gap in (0, index - last):
                gap = index - last
            elif gap == last - first > 1:
                yield first, first, 1
                first, gap = last, index - last  # noqa: PLW2901 -- the run begins later than it seemed
            else:
                yield first, last, gap
                first, gap = index, 0  # noqa: PLW2901 -- as above
            last = index
        if gap == last - first > 1:
            yield first, first, 1
            first = last  # noqa: PLW2901 -- as above
        yield first, last, gap if last > first else 1


def show(ranges: Iterable[Range]) -> str:
    """`1-10:2,15`: what `parse` reads back."""
    return ",".join(_shown(*span) for span in ranges)


def _shown(first: int, last: int, step: int) -> str:
    if first == last:
        return str(first)
    return f"{first}-{last}" if step == 1 else f"{first}-{last}:{step}"


def fold(indices: Iterable[int]) -> str:
    """Ascending `indices` in the shortest form that `parse` reads back."""
    return show(compact(indices))


def from_json(raw: Iterable[Sequence[int]]) -> Ranges:
    """Ranges stored as lists. Raises TypeError or ValueError for anything else."""
    return tuple((first, last, step) for first, last, step in raw)
