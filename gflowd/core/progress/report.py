"""What a job reports of its progress: one line, a fraction and a text (`0.4 epoch 4/10`). `gflowctl progress` writes
it, or the job itself, so the file may hold anything.
"""

from __future__ import annotations

import re

from gflowd.core.errors import Refused
from gflowd.core.job.value_base import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

VARIABLE = "GFLOW_PROGRESS_FILE"  # of the job: where the file is
LARGEST = 1024  # bytes that count
LONGEST_TEXT = 200  # characters
LONGEST_WORD = 40
_NUMBER = r"([0-9]{1,15}(?:\.[0-9]{0,15})?|\.[0-9]{1,15})"
_FORM = re.compile(rf"{_NUMBER}(?:(%)|/{_NUMBER})?")


class Report(Value):
    """How much is done, from 0 to 1, and what the job says about it."""

    __slots__ = ("fraction", "text")

    def __init__(self, fraction: float, text: str = "") -> None:
        self.fraction: Final = fraction
        self.text: Final = text


def fraction(word: str) -> float:
    """What `0.4`, `40%` or `4/10` means, from 0 to 1. Raises `Refused` for anything else."""
    match = _FORM.fullmatch(word)
    whole = 1.0 if match is None else float(match[3] or (100 if match[2] else 1))
    if match is None or not whole or not float(match[1]) <= whole:
        raise Refused(f"{word[:LONGEST_WORD]!r} is not a part of a whole (such as 0.4, 40% or 4/10)")
    return float(match[1]) / whole


def line(report: Report) -> bytes:
    """The content of the file."""
    part = f"{report.fraction:.15f}".rstrip("0").rstrip(".")
    return f"{part} {printable(report.text)}".rstrip().encode() + b"\n"


def parse(data: bytes) -> Report | None:
    """What the content of a file says; None if that is not a report, as while it is being written."""
    words = data[:LARGEST].partition(b"\n")[0].decode(errors="replace").split(None, 1)
    try:
        return Report(fraction(words[0]), printable("".join(words[1:]))) if words else None
    except Refused:
        return None


def printable(text: str) -> str:
    """`text` in one line, bounded, without characters that a terminal would act upon."""
    joined = " ".join(text[: 2 * LONGEST_TEXT].split())[:LONGEST_TEXT]
    return "".join(letter if letter.isprintable() else "?" for letter in joined)


def percent(fraction: float) -> str:
    """`40%`; 100% only when all is done."""
    return f"{int(fraction * 100 + 1e-9)}%"
