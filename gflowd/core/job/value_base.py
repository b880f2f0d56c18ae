"""The base of all values: compares, shows and copies them by their fields. Knows none of them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class Value:
    """A value: equal to another with the same fields, shown with its fields, copied with changes."""

    __slots__: tuple[str, ...] = ()

    def fields(self) -> dict[str, object]:
        """Every field by name."""
        return {name: getattr(self, name) for name in self.__slots__}

    def replace(self, **changes: object) -> Self:
        """A copy with `changes`; raises TypeError for an unknown field."""
        return type(self)(**{**self.fields(), **changes})

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in self.__slots__))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({shown})"


class Posted(Value):
    """The base of frozen dataclasses that processes hand to each other at every tick: pickled as what they are made of,
    which costs half of what `dataclasses` does. Fields are not keyword-only.
    """

    __slots__: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        return type(self), tuple([getattr(self, name) for name in self.__slots__])
