"""The parameters of a sweep as users write them. Opens no file."""

from __future__ import annotations

import re

from gflowd.core.errors import Refused
from gflowd.core.job.arrays import LARGEST, Axis
from gflowd.core.request.validation import check_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FORMS = "such as lr=0.1,0.01 or seed=1:10 or lr=0:1:0.1"
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
LARGEST_EXPONENT = 30  # a larger number is a mistake

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RANGE_LIKE = re.compile(r"[0-9.eE+-]*:[0-9.eE+:-]*")
_NUMBER = re.compile(r"([+-]?)([0-9]{1,30})?(?:\.([0-9]{0,30}))?(?:[eE]([+-]?[0-9]{1,3}))?")


def parse_param(text: str) -> Axis:
    """`NAME=a,b,c`, or `NAME=start:stop[:step]` with numbers and both ends included. Raises `Refused`.

    A range is exact: `0:1:0.1` is 0, 0.1, 0.2 ... 1. A value that contains a comma needs a parameter file.
    """
    check_text(text)
    name, equals, given = text.partition("=")
    name = name.strip()
    if not equals:
        raise Refused(f"{text!r} is not a parameter ({FORMS})")
    if _RANGE_LIKE.fullmatch(given.strip()):
        _check_name(name)
        return _axis(name, _range(name, given.strip()))
    return axis(name, [value.strip() for value in given.split(",")])


def axis(name: str, values: Sequence[str]) -> Axis:
    """The parameter with these values, each as it is. Raises `Refused`."""
    _check_name(name)
    for value in values:
        check_text(value)
    if not values or not all(values):
        raise Refused(f"the parameter {name} has an empty value: {', '.join(values)!r}")
    _check_count(name, len(values))
    return _axis(name, values)


def _axis(name: str, values: Iterable[str]) -> Axis:
    return Axis(names=(name,), rows=tuple((value,) for value in values))


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Refused(f"{name!r} cannot be a parameter's name: letters, digits and _, and no digit first")


def _check_count(name: str, values: int) -> None:
    if values > LARGEST:
        raise Refused(f"the parameter {name} has {values} values; the limit is {LARGEST}")


def _range(name: str, text: str) -> tuple[str, ...]:
    numbers = [_number(word) for word in text.split(":")]
    known = [number for number in numbers if number is not None]
    if len(known) not in (2, 3) or len(known) < len(numbers):
        raise Refused(f"the parameter {name}: {text!r} is not start:stop or start:stop:step with numbers")
    places = max(0, *(-exponent for _, exponent in known))
    start, stop, *rest = (digits * 10 ** (exponent + places) for digits, exponent in known)
    step = rest[0] if rest else 10**places
    if step == 0:
        raise Refused(f"the parameter {name}: {text!r} has a step of 0")
    if (stop - start) * step < 0:
        raise Refused(f"the parameter {name}: {text!r} never reaches its end; the step has the wrong sign")
    _check_count(name, (stop - start) // step + 1)
    return tuple(_written(value, places) for value in range(start, stop + (1 if step > 0 else -1), step))


def _number(text: str) -> tuple[int, int] | None:
    """Digits and exponent of ten, exactly what is written: -2.50e3 is (-250, 1)."""
    match = _NUMBER.fullmatch(text)
    if match is None or not (match[2] or match[3]):
        return None
    fraction, exponent = match[3] or "", int(match[4] or 0)
    if abs(exponent) > LARGEST_EXPONENT:
        return None
    return int(f"{match[1]}{match[2] or ''}{fraction}"), exponent - len(fraction)


def _written(value: int, places: int) -> str:
    """`value` / 10^`places` in plain digits, without insignificant zeros."""
    digits = str(abs(value)).rjust(places + 1, "0")
    whole, fraction = digits[: len(digits) - places], digits[len(digits) - places :].rstrip("0")
    return f"{'-' if value < 0 else ''}{whole}{'.' if fraction else ''}{fraction}"


def parse_csv(text: str) -> Axis:
    """A table with a header of parameters' names and a row of values for each job. Raises `Refused`.

    Quotes are as in RFC 4180. Ignores blanks around a comma and at the end of a line, empty lines and a byte order
    mark.
    """
    import csv

    check_text(text)
    reader = csv.reader(_lines(text.removeprefix("\ufeff")), skipinitialspace=True, strict=True)
    names: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = []
    try:
        for row in reader:
            if not names:
                names = _header(row)
            elif row:
                if len(row) != len(names):
                    raise Refused(f"line {reader.line_num} has {len(row)} values, the header {len(names)}")
                rows.append(tuple(row))
    except csv.Error as error:
        raise Refused(f"line {reader.line_num}: {error}") from None
    if not rows:
        raise Refused("there is no row of values below the header" if names else "there is no header")
    _check_count(",".join(names), len(rows))
    return Axis(names=names, rows=tuple(rows))


def _lines(text: str) -> Iterator[str]:
    """Not str.splitlines, which also splits at form feeds and others. Quoted text keeps its blanks."""
    for line in text.split("\n"):
        parts = [line] if '"' in line else line.split(",")
        yield ",".join(part.rstrip(" \t\r") if line.count('"') % 2 == 0 else part for part in parts) + "\n"


def _header(row: Sequence[str]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in row)
    for place, name in enumerate(names):
        if not _NAME.fullmatch(name):
            for separator, called in OTHER_SEPARATORS.items():
                if all(_NAME.fullmatch(part.strip()) for part in name.split(separator)):
                    raise Refused(f"the header's columns are separated by {called}, not by commas")
            raise Refused(f"the header's {name!r} cannot be a parameter's name; the first line must name the columns")
        if name in names[:place]:
            raise Refused(f"the header names {name} twice")
    return names
