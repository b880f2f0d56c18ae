"""The progress bars that tqdm prints, as they stand at the end of a log."""

from __future__ import annotations

import re

from gflowd.core.job.value_base import Value
from gflowd.core.progress.report import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

TAIL = 1024  # bytes of the log that are looked at
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_UP = "\x1b[A"  # tqdm goes back up from a bar that is below another
_ENDS = re.compile(r"[\r\n]")
_TIME = r"((?:[0-9]{1,6}:)?[0-9]{1,2}:[0-9]{2})"
_BAR = re.compile(rf"([0-9]{{1,3}})%\|[^|]*\| ?([^ /]+)/([^ ]+) \[{_TIME}<(?:{_TIME}|\?)[,\]]")
_NUMBERED = re.compile(r"(?i)epoch\W*[0-9]")


class Bar(Value):
    """One bar: the part that is done, from 0 to 1; its title and count; the seconds for which it has run, and which
    tqdm expects it to take, None if it does not know; and whether its title says that it is one of several.
    """

    __slots__ = ("fraction", "left", "one_of_several", "ran", "text")

    def __init__(
        self, fraction: float, text: str, *, ran: float, left: float | None, one_of_several: bool = False
    ) -> None:
        self.fraction: Final = fraction
        self.text: Final = text
        self.ran: Final = ran
        self.left: Final = left
        self.one_of_several: Final = one_of_several


def last(tail: bytes, *, whole: bool) -> Bar | None:
    """The last bar in the end of a log, `whole` if that is all of it; one that is below another only if that is not
    there: then it is one of several.
    """
    parts = _ENDS.split(tail.decode(errors="replace"))[0 if whole else 1 :]
    lowest = None
    for part in reversed(parts):
        found = _read(_SEQUENCE.sub("", part))
        if found is not None and _UP not in part:
            return found
        lowest = lowest or found
    return None if lowest is None else lowest.replace(one_of_several=True)


def _read(part: str) -> Bar | None:
    match = _BAR.search(part)
    if match is None or int(match[1]) > 100:
        return None
    title = part[: match.start()].strip().removesuffix(":")
    text = printable(f"{title} {match[2]}/{match[3]}")
    left = None if match[5] is None else _seconds(match[5])
    numbered = _NUMBERED.search(title) is not None
    return Bar(_fraction(match), text, ran=_seconds(match[4]), left=left, one_of_several=numbered)


def _fraction(match: re.Match[str]) -> float:
    """By its count if that is exact."""
    done, total = match[2], match[3]
    if done.isdecimal() and total.isdecimal() and int(total[:15]) > 0 and int(done[:15]) <= int(total[:15]):
        return int(done[:15]) / int(total[:15])
    return int(match[1]) / 100


def _seconds(text: str) -> float:
    total = 0
    for part in text.split(":"):
        total = total * 60 + int(part)
    return float(total)
