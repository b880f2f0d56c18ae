"""What the fields of records may hold, as rules. A rule judges a column: the values of one field in many records, or
in one. Judging columns costs a tenth of judging record by record.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import chain

from gflowd.core.job.model import is_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from re import Pattern
    from typing import Any

    Column = Sequence[Any]
    Rule = Callable[[Column], bool]

LARGEST_WHOLE = 2**53  # beyond it a number is not the same in every program that reads JSON
DEEPEST = 32  # of what is in a field that this version does not know
SHOWN = 60  # characters of a value
_TROUBLE = (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError)


def holds(rule: Rule, column: Column) -> bool:
    """Whether all of a column is right; what a rule trips over is not."""
    try:
        return rule(column)
    except _TROUBLE:
        return False


def whole(least: int, most: int) -> Rule:
    """Whole numbers from `least` to `most`."""
    return lambda column: {*map(type, column)} == {int} and least <= min(column) and max(column) <= most


def number(least: float, most: float) -> Rule:
    """Numbers from `least` to `most`."""

    def rule(column: Column) -> bool:
        if not ({*map(type, column)} <= {int, float} and least <= min(column) and max(column) <= most):
            return False
        total = sum(column)
        return bool(total - total == 0)  # a NaN is neither less nor more than anything, but is in every sum

    return rule


def text(longest: int = LARGEST_WHOLE, least: int = 0) -> Rule:
    """Text of at least `least` characters and at most `longest` bytes."""

    def rule(column: Column) -> bool:
        if len(column) == 1:
            word = column[0]
            right = type(word) is str and len(word) >= least and is_text(word)
            return right and (len(word) * 4 <= longest or len(word.encode()) <= longest)
        words = {*column}
        if {*map(type, words)} != {str} or not is_text("".join(words)):
            return False
        sizes = [*map(len, words)]
        if min(sizes) < least:
            return False
        return max(sizes) * 4 <= longest or all(len(each.encode()) <= longest for each in words)

    return rule


def matches(pattern: Pattern[str]) -> Rule:
    """Words of a form."""
    return lambda column: TEXT(column) and all(map(pattern.fullmatch, {*column}))


def flag(column: Column) -> bool:
    """True or false."""
    return {*map(type, column)} == {bool}


def one_of(words: Collection[str]) -> Rule:
    """One of these words."""
    known = frozenset(words)
    return known.issuperset


class Maybe:
    """What a rule has, or nothing."""

    __slots__ = ("rule",)

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def __call__(self, column: Column) -> bool:
        there = [each for each in column if each is not None]
        return not there or self.rule(there)


class Listed:
    """Lists of at least this many values that satisfy `rule`."""

    __slots__ = ("least", "rule")

    def __init__(self, rule: Rule, least: int = 0) -> None:
        self.rule = rule
        self.least = least

    def __call__(self, column: Column) -> bool:
        if {*map(type, column)} != {list} or min(map(len, column)) < self.least:
            return False
        items = [*chain.from_iterable(column)]
        return not items or self.rule(items)


class Named:
    """Objects that have what `rule` has under any names."""

    __slots__ = ("rule",)

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def __call__(self, column: Column) -> bool:
        names, values = [*chain.from_iterable(column)], [value for one in column for value in one.values()]
        return {*map(type, column)} == {dict} and (not names or (TEXT(names) and self.rule(values)))


class Later:
    """A rule that is made where it is needed first, since few records need what it imports."""

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], Rule]) -> None:
        self._make = make
        self._made: Rule | None = None

    @property
    def rule(self) -> Rule:
        if self._made is None:
            self._made = self._make()
        return self._made

    def __call__(self, column: Column) -> bool:
        return self.rule(column)


def row(*rules: Rule) -> Rule:
    """Lists with one item for each rule."""

    def each(column: Column) -> bool:
        parts = [*zip(*column, strict=True)]
        right = {*map(type, column)} == {list} and len(parts) == len(rules)
        return right and all(rule(part) for rule, part in zip(rules, parts, strict=True))

    return each


def unknown(column: Column) -> bool:
    """What a later version may have written: anything that can be written again."""
    todo = [(each, 0) for each in column]
    while todo:
        value, depth = todo.pop()
        kind = type(value)
        if depth > DEEPEST or (kind is int and abs(value) > LARGEST_WHOLE) or (kind is float and value - value != 0):
            return False
        if (kind is str and not is_text(value)) or (kind is dict and not all(map(is_text, value))):
            return False
        if kind in (dict, list):
            todo += [(each, depth + 1) for each in (value.values() if kind is dict else value)]
    return True


class Fields:
    """A rule for objects: their fields, and which must be there. `beyond`: what each must be as a whole, or only those
    that have one of the fields `together`.
    """

    __slots__ = ("_beyond", "_deep", "_required", "_rules", "_together")

    def __init__(
        self,
        required: Mapping[str, Rule],
        others: Mapping[str, Rule] | None = None,
        together: Collection[str] | None = None,
        beyond: Callable[[Any], bool] | None = None,
    ) -> None:
        self._required = frozenset(required)
        self._rules = {**required, **(others or {})}
        self._deep = frozenset(name for name, rule in self._rules.items() if _has_fields(rule))
        self._together = None if together is None else frozenset(together)
        self._beyond = beyond

    def __call__(self, column: Column) -> bool:
        """Whether all objects of a column are right. Those with the same fields in the same order are read at once."""
        if {*map(type, column)} != {dict}:
            return False
        if len(column) == 1:
            return self._is_right(column[0])
        alike: defaultdict[tuple[str, ...], list[Any]] = defaultdict(list)
        for each in column:
            alike[tuple(each)].append(each)
        parts: dict[str, list[Any]] = {}
        for names, objects in alike.items():
            if not self._required.issubset(names):
                return False
            for name, values in zip(names, zip(*map(dict.values, objects), strict=True), strict=False):
                parts.setdefault(name, []).extend(values)
        if not all(self._rules.get(name, unknown)(values) for name, values in parts.items()):
            return False
        if self._beyond is None:
            return True
        some = self._together
        return all(all(map(self._beyond, each)) for names, each in alike.items() if some is None or some & {*names})

    def _is_right(self, one: dict[str, Any]) -> bool:
        """As for a column of it, at half the cost."""
        rules = self._rules
        for name, value in one.items():
            if not rules.get(name, unknown)((value,)):
                return False
        if not self._required <= one.keys():
            return False
        some = self._together
        return self._beyond is None or (some is not None and some.isdisjoint(one)) or self._beyond(one)

    def words(self, value: Any) -> str | None:
        """What is wrong with the fields of one object; None where each by itself is right."""
        if type(value) is not dict:
            return f"{brief(value)} is not an object"
        missing = next((name for name in sorted(self._required) if name not in value), None)
        if missing is not None:
            return f"{missing} is missing"
        for name, field in value.items():
            rule = self._rules.get(name, unknown)
            if not holds(rule, [field]):
                whole_rule = rule.rule if isinstance(rule, Maybe) else rule
                inside = whole_rule.words(field) if isinstance(whole_rule, Fields) else None
                return f"{name}: {inside}" if inside else f"{brief(name)[1:-1]} is {brief(field)}"
        return None

    def stranger(self, value: Mapping[str, Any]) -> str | None:
        """The first field of a right object, or within one, that no rule knows, as `retry.colour`; None if all are."""
        if self._rules.keys() >= value.keys() and self._deep.isdisjoint(value):
            return None
        for name, field in value.items():
            rule = self._rules.get(name)
            if rule is None:
                return name
            inside = stranger(rule, field)
            if inside is not None:
                return f"{name}.{inside}"
        return None


def stranger(rule: Rule, value: Any) -> str | None:
    """As `Fields.stranger`, of a value that satisfies any rule."""
    match rule:
        case _ if value is None:
            return None
        case Fields():
            return rule.stranger(value)
        case Listed():
            return next(filter(None, (stranger(rule.rule, each) for each in value)), None)
        case Named():
            return next(filter(None, (stranger(rule.rule, each) for each in value.values())), None)
        case Maybe() | Later():
            return stranger(rule.rule, value)
        case _:
            return None


def _has_fields(rule: Rule) -> bool:
    """Whether there may be objects with fields within what satisfies it."""
    if isinstance(rule, (Listed, Named, Maybe)):
        return _has_fields(rule.rule)
    return isinstance(rule, (Fields, Later))


def brief(value: Any) -> str:
    """A value as a message shows it."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    shown = ascii(value[: SHOWN + 1]) if isinstance(value, str) else "a huge number" if _is_huge(value) else repr(value)
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."


def _is_huge(value: Any) -> bool:
    return isinstance(value, int) and abs(value) > LARGEST_WHOLE


TEXT = text()
