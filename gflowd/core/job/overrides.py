"""Parameters of a sweep whose values were changed after submission: by element, stored as ranges."""

from __future__ import annotations

from gflowd.core.job.value_base import Value
from gflowd.core.syntax import ranges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, Final

    from gflowd.core.syntax.ranges import Ranges


class Override(Value):
    """The value of a parameter at some positions."""

    __slots__ = ("name", "positions", "value")

    def __init__(self, *, name: str, positions: Ranges, value: str) -> None:
        self.name: Final = name
        self.positions: Final = positions
        self.value: Final = value


def at(overrides: Iterable[Override], position: int) -> Iterator[tuple[str, str]]:
    """The changed parameters at `position`, with their values."""
    for override in overrides:
        if any(
            first <= position <= last and (position - first) % step == 0 for first, last, step in override.positions
        ):
            yield override.name, override.value


def to_json(overrides: Iterable[Override]) -> list[Any]:
    """Name, ranges and value of each, as lists."""
    return [[override.name, [list(span) for span in override.positions], override.value] for override in overrides]


def from_json(raw: Iterable[Any]) -> tuple[Override, ...]:
    """What `to_json` wrote. Raises TypeError or ValueError if it is something else."""
    return tuple(Override(name=name, positions=ranges.from_json(spans), value=value) for name, spans, value in raw)
