"""Elements of arrays as users name them: `42_3`, `42_[1-5,9]`. An array's elements have consecutive ids, its own
the first. `core.syntax.job_ids` reads words without an element.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate

from gflowd.core.errors import BadUsage, Refused
from gflowd.core.job import arrays
from gflowd.core.syntax import ranges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gflowd.core.job.arrays import Family
    from gflowd.core.syntax.ranges import Range, Ranges

    Plain = Callable[[str], tuple[Sequence[int], Sequence[str]]]

FORMS = "such as 42_3 or 42_[1-5,9]"
MOST_RANGES = 10  # of indices named one by one; then dots

_WORD = re.compile(r"[^,\[]*(?:\[[^\]]*)?[^,]*")
_ELEMENTS = re.compile(r"([0-9]{1,18})_(?:([0-9]{1,18})|\[([0-9,:\s-]+)(?:%[0-9]*)?\])")


def resolve(text: str, families: Mapping[int, Family], plain: Plain) -> list[int]:
    """The ids that a list of jobs names, each once, in the order named.

    `families` are the arrays by id; a word that names one job which is an array means all its elements. `plain`
    gives the known ids of a word without an element (`42`, `5-7`, `@~2`) and, in words, those that are not known.
    Raises `BadUsage` if it is not a list of jobs, `Refused` naming everything unknown.
    """
    chosen: dict[int, None] = {}
    unknown: list[str] = []
    for word in split(text):
        found: Iterable[int]
        parsed = parse(word)
        if parsed is None:
            named, missing = plain(word)
            whole = families.get(named[0]) if len(named) == 1 and "-" not in word else None
            found = named if whole is None else range(named[0], named[0] + arrays.size(whole))
            unknown += missing
        elif parsed[0] in families:
            array_id, wanted = parsed
            positions, none = select(families[array_id], wanted)
            found = [array_id + position for position in positions]
            unknown += [show(array_id, none)] if none else []
        else:
            found = ()
            unknown.append(show(*parsed))
        chosen.update(dict.fromkeys(found))
    if unknown:
        raise Refused(f"no job {', '.join(unknown)}")
    return list(chosen)


def split(text: str) -> list[str]:
    """The words of a list of jobs, split at commas outside brackets."""
    words: list[str] = []
    place = 0
    while place <= len(text):
        match = _WORD.match(text, place)
        assert match is not None  # it matches nothing at all, too
        words.append(match[0].strip())
        place = match.end() + 1
    return words


def parse(word: str) -> tuple[int, Ranges] | None:
    """Array id and indices of `42_3` or `42_[1-5,9]`, None for a word of another kind.

    The `%50` of `42_[7-100%50]`, as queue shows it, is ignored. Raises `BadUsage` for almost correct words.
    """
    if "_" not in word and "[" not in word:
        return None
    match = _ELEMENTS.fullmatch(word)
    wrong = BadUsage(f"{word!r} names no elements of an array ({FORMS})")
    if match is None:
        raise wrong
    try:
        return int(match[1]), ranges.parse(match[2] or match[3])
    except Refused:
        raise wrong from None


def select(family: Family, wanted: Ranges) -> tuple[list[int], Ranges]:
    """The positions of the elements with the indices `wanted`, and those indices that the array does not have."""
    known = arrays.ranges_of(family)
    starts = [first for first, _, _ in known]
    before = [0, *accumulate(map(ranges.length, known))]
    positions: list[int] = []
    missing: list[Range] = []
    for first, last, step in wanted:
        due = first
        for place in range(max(bisect_right(starts, first) - 1, 0), bisect_right(starts, last)):
            begin, end, gap = known[place]
            skipped = max(0, -(-(first - begin) // gap))
            for index in range(begin + skipped * gap, min(end, last) + 1, gap):
                if (index - first) % step == 0:
                    positions.append(before[place] + (index - begin) // gap)
                    missing += [ranges.spanned(due, index - step, step)] if due < index else []
                    due = index + step
        missing += [ranges.spanned(due, last, step)] if due <= last else []
    return positions, tuple(missing)


def show(array_id: int, indices: Ranges, max_concurrent: int | None = None) -> str:
    """`42_3` for one element, `42_[7-100%50]` for several, with the number that may run at a time."""
    shown = ranges.show(indices)
    if shown.isdigit():
        return f"{array_id}_{shown}"
    return f"{array_id}_[{shown}{'' if max_concurrent is None else f'%{max_concurrent}'}]"


def name(family: Family, array_id: int, ids: Sequence[int], limit: int | None = None) -> str:
    """`42_[7-100%50]`: elements of one array by their ascending ids; after some ranges come dots."""
    spans: list[Range] = []
    begin = place = 0
    while begin < len(ids):
        place = begin + 1
        while place < len(ids) and ids[place] == ids[place - 1] + 1:
            place += 1
        spans += arrays.within(family, ids[begin] - array_id, ids[place - 1] - array_id + 1)
        begin = place
        if len(spans) > MOST_RANGES and begin < len(ids):
            shown = show(array_id, tuple(spans[:MOST_RANGES]), limit)
            opened, percent, after = shown.removesuffix("]").partition("%")
            return f"{opened},...{percent}{after}]"
    return show(array_id, tuple(spans), limit)
