"""Parameters of a sweep that were given other values after the submission: element by element, kept as ranges."""

from __future__ import annotations

from gflowd.core import ranges
from gflowd.core.errors import Refused
from gflowd.core.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any, Final

    from gflowd.core.arrays import Family
    from gflowd.core.ranges import Ranges


class Edit(Value):
    """The value of a parameter at some positions."""

    __slots__ = ("name", "positions", "value")

    def __init__(self, *, name: str, positions: Ranges, value: str) -> None:
        self.name: Final = name
        self.positions: Final = positions
        self.value: Final = value


def edited(family: Family, positions: Iterable[int], values: Mapping[str, str]) -> Family:
    """A sweep with other values at `positions`. Raises `Refused` for what is none of its parameters."""
    known = [name for axis in family.axes for name in axis.names]
    for name in values:
        if name not in known:
            raise Refused(f"{ranges.short(name)} is none of its parameters (they are {', '.join(known)})")
    places = sorted(set(positions))
    kept = (_without(edit, set(places)) if edit.name in values else edit for edit in family.edits)
    made = (Edit(name=name, positions=tuple(ranges.compact(places)), value=value) for name, value in values.items())
    return family.replace(edits=tuple(edit for edit in (*kept, *made) if edit.positions))


def _without(edit: Edit, positions: set[int]) -> Edit:
    left = (
        position
        for first, last, step in edit.positions
        for position in range(first, last + 1, step)
        if position not in positions
    )
    return edit.replace(positions=tuple(ranges.compact(left)))


def at(edits: Iterable[Edit], position: int) -> Iterator[tuple[str, str]]:
    """The parameters that have another value at `position`, with it."""
    for edit in edits:
        if any(first <= position <= last and (position - first) % step == 0 for first, last, step in edit.positions):
            yield edit.name, edit.value


def to_json(edits: Iterable[Edit]) -> list[Any]:
    """Name, ranges and value of each, as lists."""
    return [[edit.name, [list(span) for span in edit.positions], edit.value] for edit in edits]


def from_json(raw: Iterable[Any]) -> tuple[Edit, ...]:
    """What `to_json` wrote. Raises TypeError or ValueError when it is something else."""
    return tuple(Edit(name=name, positions=ranges.from_json(spans), value=value) for name, spans, value in raw)
