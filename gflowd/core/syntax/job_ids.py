"""Lists of jobs as users write them: `42`, `1,3,5-7`, `@` (my last submission), `@~2` (two submissions before it)."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right

from gflowd.core.errors import BadUsage, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FORMS = "such as 42, 1,3,5-7, @ or @~2"

_ITEM = r"([0-9]{1,18})(?:-([0-9]{1,18}))?|@(?:~([0-9]{1,9}))?"


def select(text: str, known: Sequence[int], mine: Sequence[int]) -> list[int]:
    """The ids that `text` names, each once, in the order named.

    `known` are the ids of all jobs and `mine` the first ids of my submissions, both in ascending order. Raises
    `BadUsage` if it is not a list of jobs, `Refused` naming every unknown id.
    """
    chosen: dict[int, None] = {}
    unknown: list[str] = []
    for word in text.split(","):
        match = re.fullmatch(_ITEM, word.strip())
        if match is None:
            raise BadUsage(f"{text!r} is not a list of jobs ({FORMS})")
        if match[1] is None:
            found = _back(int(match[3] or 0), mine)
            unknown += [] if found else [word.strip()]
        else:
            first, last = int(match[1]), int(match[2] or match[1])
            if last < first:
                raise BadUsage(f"{word.strip()!r} runs backwards; write the smaller id first")
            found = known[bisect_left(known, first) : bisect_right(known, last)]
            unknown += _gaps(first, last, found)
        chosen.update(dict.fromkeys(found))
    if unknown:
        raise Refused(f"no job {', '.join(unknown)}")
    return list(chosen)


def _back(steps: int, mine: Sequence[int]) -> Sequence[int]:
    return [mine[-1 - steps]] if steps < len(mine) else []


def _gaps(first: int, last: int, found: Iterable[int]) -> Iterator[str]:
    """The ids between `first` and `last` that are not in `found`, as briefly as possible."""
    begin = first
    for job_id in (*found, last + 1):
        if begin < job_id:
            yield _span(begin, job_id - 1)
        begin = job_id + 1


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def show(ids: Iterable[int]) -> str:
    """`ids` in ascending order, runs folded: `1,3,5-7`."""
    spans: list[list[int]] = []
    for job_id in sorted(set(ids)):
        if spans and job_id == spans[-1][1] + 1:
            spans[-1][1] = job_id
        else:
            spans.append([job_id, job_id])
    return ",".join(_span(first, last) for first, last in spans)
