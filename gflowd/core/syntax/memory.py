"""Amounts of memory as users write them: `512` (MB), `800M`, `24G`, `1.5T`. Inside gflow they are whole MiB."""

import math
import re

from gflowd.core.errors import Refused

_FORM = r"(?i)(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?"
_MIB = {"k": 1 / 1024, "": 1, "m": 1, "g": 1024, "t": 1024 * 1024}
LONGEST_TEXT = 40  # characters: no sensible value is longer, and float() takes 309 digits for infinity
LARGEST = 1 << 40  # a yobibyte in MiB: a larger number is a mistake


def parse(text: str) -> int:
    """The MiB that `text` means, rounded up. Raises `Refused` for anything else."""
    return math.ceil(_parsed(text))


def parse_bytes(text: str) -> int:
    """The bytes that `text` means, where a bare number is MiB; rounded up. Raises as `parse`."""
    return math.ceil(_parsed(text) * (1 << 20))


def _parsed(text: str) -> float:
    match = re.fullmatch(_FORM, text.strip()[: LONGEST_TEXT + 1])
    if match is None or not text.isascii() or len(match[0]) > LONGEST_TEXT:
        raise Refused(f"{text[:LONGEST_TEXT]!r} is not an amount of memory (such as 512, 800M, 24G or 1.5T)")
    amount = float(match[1]) * _MIB[match[2].lower()]
    if amount > LARGEST:
        raise Refused(f"{text!r} is more memory than any machine has")
    return amount


def show(mib: int) -> str:
    """`mib` in the shortest form that `parse` reads back: `800M`, `24G`, `1.5T`."""
    for unit, size in (("T", 1024 * 1024), ("G", 1024)):
        if mib >= size and (mib * 10) % size == 0:
            amount = mib / size
            return f"{amount:.0f}{unit}" if mib % size == 0 else f"{amount:.1f}{unit}"
    return f"{mib}M"


def about(mib: int) -> str:
    """MiB to about three digits, unlike `show`, which must be exact."""
    size, units = float(mib), iter("MGT")
    unit = next(units)
    while size >= 1024 and unit != "T":
        size, unit = size / 1024, next(units)
    return f"{round(size, 1):g}{unit}"
