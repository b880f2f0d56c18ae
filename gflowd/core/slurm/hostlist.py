"""Lists of hosts as Slurm writes them: `n[01-03,7],m2` is n01, n02, n03, n7 and m2."""

from __future__ import annotations

import re
from itertools import islice

from gflowd.core.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LARGEST = 65536  # hosts: as many as Slurm takes
MOST_RANGES = 10  # in one host's name
_PART = re.compile(r"((?:[^,\[\]]|\[[^\[\]]*\])+)(?:,|$)")
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")
_NUMBERED = re.compile(r"(.*?)([0-9]{1,9})")


def expand(text: str) -> list[str]:
    """The hosts, in their order. Raises `Refused` for what is no such list."""
    found: list[str] = []
    place = 0
    while place < len(text):
        match = _PART.match(text, place)
        if match is None:
            raise Refused(f"Invalid hostlist: {text}")
        if match[1].count("[") > MOST_RANGES:
            raise Refused(f"Invalid hostlist: {text}")
        found += islice(_hosts(match[1], text), LARGEST + 1 - len(found))
        if len(found) > LARGEST:
            raise Refused(f"Invalid hostlist: more than {LARGEST} hosts")
        place = match.end()
    return found


def _hosts(part: str, text: str) -> Iterator[str]:
    before, bracket, rest = part.partition("[")
    if not bracket:
        yield before
        return
    inner, _, after = rest.partition("]")
    for each in inner.split(","):
        match = _RANGE.fullmatch(each)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if match is None or last < first or last - first >= LARGEST:
            raise Refused(f"Invalid hostlist: {text}")
        for number in range(first, last + 1):
            for end in _hosts(after, text):
                yield f"{before}{number:0{len(match[1])}}{end}"


def fold(hosts: Iterable[str]) -> str:
    """The shortest such list of the hosts, in their order."""
    groups: list[tuple[str, int, list[list[int]]]] = []  # what stands before the number, its width, ranges
    for host in hosts:
        match = _NUMBERED.fullmatch(host)
        if match is None:
            groups.append((host, 0, []))
            continue
        width = len(match[2]) if match[2].startswith("0") else 0
        number = int(match[2])
        if groups and groups[-1][:2] == (match[1], width) and groups[-1][2]:
            ranges = groups[-1][2]
            if ranges[-1][1] + 1 == number:
                ranges[-1][1] = number
            else:
                ranges.append([number, number])
        else:
            groups.append((match[1], width, [[number, number]]))
    return ",".join(_folded(*group) for group in groups)


def _folded(before: str, width: int, ranges: list[list[int]]) -> str:
    if not ranges:
        return before
    parts = [f"{first:0{width}}" if first == last else f"{first:0{width}}-{last:0{width}}" for first, last in ranges]
    inner = ",".join(parts)
    return f"{before}{inner}" if len(ranges) == 1 and ranges[0][0] == ranges[0][1] else f"{before}[{inner}]"
