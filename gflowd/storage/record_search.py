"""Finds the lines of a few jobs in a long snapshot by their bytes; other lines are neither parsed nor checked.

Knows nothing of files.
"""

from __future__ import annotations

from gflowd.storage.record_log import sound_body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FAMILY = b'"family":'  # in the spec of an array


def sift(parts: Iterable[bytes], ids: Iterable[int]) -> list[bytes] | None:
    """The JSON of the lines whose record has one of `ids` or makes an array, in order; a few others may be among them.
    `parts` are whole commits, cut anywhere. None if one of these lines is damaged.
    """
    needles = [FAMILY, *(b'",%d,' % each for each in ids)]
    found: list[bytes] = []
    rest = b""
    for part in parts:
        first, end = part.find(b"\n") + 1, part.rfind(b"\n") + 1
        line, rest = (rest + part[:first], part[end:]) if first else (b"", rest + part)
        for block, begin, until in ((line, 0, len(line)), (part, first, end)):  # so that no part is copied
            places = sorted({place for needle in needles for place in _lines_with(needle, block, begin, until)})
            found += [block[start:stop] for start, stop in places]
    bodies = [body for line in found if (body := sound_body(line)) is not None]
    return bodies if len(bodies) == len(found) else None


def _lines_with(needle: bytes, block: bytes, begin: int, end: int) -> Iterable[tuple[int, int]]:
    """Where the lines are in `block[begin:end]` that contain `needle`."""
    at = block.find(needle, begin, end)
    while at >= 0:
        after = block.index(b"\n", at)
        yield block.rfind(b"\n", begin, at) + 1 or begin, after
        at = block.find(needle, after, end)
