"""Arrays and sweeps: many jobs with one spec, stored as ranges and axes, never as a list of elements.

An element has a position, from 0, and an index, the number that its user knows: in an array one of those
asked for, in ascending order; in a sweep the position itself.
"""

from __future__ import annotations

import re

from gflowd.core.errors import Refused
from gflowd.core.job import overrides
from gflowd.core.job.value_base import Value
from gflowd.core.syntax import ranges as spans
from gflowd.core.syntax.ranges import length, spanned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, Final

    from gflowd.core.job.overrides import Override
    from gflowd.core.syntax.ranges import Range, Ranges

LARGEST = 1_000_000  # elements of one array or sweep

_LIMIT = re.compile(r"0*([1-9][0-9]{0,8})")


class Axis(Value):
    """What varies in a sweep: the names of parameters and, row by row, their values."""

    __slots__ = ("names", "rows")

    def __init__(self, *, names: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> None:
        self.names: Final = names
        self.rows: Final = rows  # each as long as `names`


class Family(Value):
    """An array (it has ranges) or a sweep (it has axes, the last of which varies fastest)."""

    __slots__ = ("axes", "max_concurrent", "max_failures", "overrides", "ranges")

    def __init__(
        self,
        *,
        ranges: Ranges = (),
        axes: tuple[Axis, ...] = (),
        max_concurrent: int | None = None,
        max_failures: int | None = None,
        overrides: tuple[Override, ...] = (),
    ) -> None:
        self.ranges: Final = ranges  # ascending, their spans apart from each other
        self.axes: Final = axes
        self.overrides: Final = overrides  # of a sweep's parameters
        self.max_concurrent: Final = max_concurrent  # elements running at a time
        self.max_failures: Final = max_failures  # failed elements after which the rest is cancelled


def new_family(
    ranges: Ranges = (),
    axes: Sequence[Axis] = (),
    *,
    max_concurrent: int | None = None,
    max_failures: int | None = None,
) -> Family:
    """The requested array or sweep. Raises `Refused` if the parts do not fit together or are too many."""
    if ranges and axes:
        raise Refused("give either an array or parameters, not both")
    seen: set[str] = set()
    for name in (name for axis in axes for name in axis.names):
        if name in seen:
            raise Refused(f"the parameter {name} is given twice")
        seen.add(name)
    check_limits(max_concurrent, max_failures)
    made = Family(ranges=ranges, axes=tuple(axes), max_concurrent=max_concurrent, max_failures=max_failures)
    check_size(size(made))
    return made


def check_limits(max_concurrent: int | None, max_failures: int | None) -> None:
    """Raises `Refused` for a limit with which nothing could run."""
    for what, number in (("concurrent jobs", max_concurrent), ("failures", max_failures)):
        if number is not None and number < 1:
            raise Refused(f"a limit of {number} {what} is not possible; the minimum is 1")


def check_size(elements: int) -> None:
    """Raises `Refused` for more elements than an array or sweep may have."""
    if elements > LARGEST:
        raise Refused(f"{elements} elements are too many for one array or sweep; the limit is {LARGEST}")


def parse_array(text: str) -> tuple[Ranges, int | None]:
    """The indices that `--array` names, ascending, and the `%N` after them (see sbatch(1)). Raises `Refused`."""
    items, percent, limit = text.partition("%")
    concurrent = None
    if percent:
        match = _LIMIT.fullmatch(limit.strip())
        if match is None:
            raise Refused(f"{spans.short(limit)} after % must be a number of elements of at least 1")
        concurrent = int(match[1])
    asked = spans.parse(items)
    check_size(sum(map(length, asked)))
    return spans.ascending(asked), concurrent


def ranges_of(family: Family) -> Ranges:
    """The indices of all elements, in the order of their positions."""
    return ((0, size(family) - 1, 1),) if family.axes else family.ranges


def size(family: Family) -> int:
    """How many elements there are."""
    if family.axes:
        elements = 1
        for axis in family.axes:
            elements *= len(axis.rows)
        return elements
    return sum(map(length, family.ranges))


def index_of(family: Family, position: int) -> int:
    """The index of the element at `position`. Raises IndexError if there is none."""
    left = position
    for span in ranges_of(family) if position >= 0 else ():
        if left < length(span):
            return span[0] + left * span[2]
        left -= length(span)
    raise IndexError(position)


def position_of(family: Family, index: int) -> int | None:
    """The position of the element with this index, None if there is none."""
    before = 0
    for span in ranges_of(family):
        first, last, step = span
        if first <= index <= last:
            return None if (index - first) % step else before + (index - first) // step
        before += length(span)
    return None


def within(family: Family, start: int, stop: int) -> Ranges:
    """The indices of the elements from position `start` up to but not including `stop`."""
    found: list[Range] = []
    before = 0
    for span in ranges_of(family):
        first, _, step = span
        low, high = max(start - before, 0), min(stop - before, length(span)) - 1
        if low <= high:
            found.append(spanned(first + low * step, first + high * step, step))
        before += length(span)
    return tuple(found)


def parameters(family: Family, position: int) -> dict[str, str]:
    """The values of a sweep's parameters at `position`, empty for an array. Raises IndexError if there is none."""
    if not 0 <= position < size(family):
        raise IndexError(position)
    rows: list[tuple[str, ...]] = []
    left = position
    for axis in reversed(family.axes):
        left, row = divmod(left, len(axis.rows))
        rows.append(axis.rows[row])
    found: dict[str, str] = {}
    for axis, values in zip(family.axes, reversed(rows), strict=True):
        found.update(zip(axis.names, values, strict=True))
    found.update(overrides.at(family.overrides, position))
    return found


def overridden(family: Family, positions: Iterable[int], values: Mapping[str, str]) -> Family:
    """A sweep with other values at `positions`. Raises `Refused` for an unknown parameter."""
    known = [name for axis in family.axes for name in axis.names]
    for name in values:
        if name not in known:
            raise Refused(f"{spans.short(name)} is not one of its parameters ({', '.join(known)})")
    places = sorted(set(positions))
    kept = (_without(override, set(places)) if override.name in values else override for override in family.overrides)
    made = (
        overrides.Override(name=name, positions=tuple(spans.compact(places)), value=value)
        for name, value in values.items()
    )
    return family.replace(overrides=tuple(override for override in (*kept, *made) if override.positions))


def _without(override: Override, positions: set[int]) -> Override:
    left = (
        position
        for first, last, step in override.positions
        for position in range(first, last + 1, step)
        if position not in positions
    )
    return override.replace(positions=tuple(spans.compact(left)))


def least(family: Family) -> int:
    """The smallest index (`SLURM_ARRAY_TASK_MIN`)."""
    return ranges_of(family)[0][0]


def greatest(family: Family) -> int:
    """The largest index (`SLURM_ARRAY_TASK_MAX`)."""
    return ranges_of(family)[-1][1]


def stride(family: Family) -> int:
    """The step between indices, 1 if it varies (`SLURM_ARRAY_TASK_STEP`)."""
    ranges = ranges_of(family)
    return ranges[0][2] if len(ranges) == 1 else 1


def to_json(family: Family) -> dict[str, Any]:
    """The fields that differ from their defaults, as lists."""
    raw: dict[str, Any] = {}
    if family.ranges:
        raw["ranges"] = [list(span) for span in family.ranges]
    if family.axes:
        raw["axes"] = [{"names": list(axis.names), "rows": [list(row) for row in axis.rows]} for axis in family.axes]
    if family.overrides:
        raw["edits"] = overrides.to_json(family.overrides)
    for name in ("max_concurrent", "max_failures"):
        if getattr(family, name) is not None:
            raw[name] = getattr(family, name)
    return raw


def from_json(raw: Mapping[str, Any]) -> Family:
    """Reads what `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
    axes = (
        Axis(names=tuple(axis["names"]), rows=tuple(tuple(row) for row in axis["rows"])) for axis in raw.get("axes", ())
    )
    return Family(
        ranges=spans.from_json(raw.get("ranges", ())),
        axes=tuple(axes),
        overrides=overrides.from_json(raw.get("edits", ())),
        max_concurrent=raw.get("max_concurrent"),
        max_failures=raw.get("max_failures"),
    )
