"""A few jobs' lines out of a long snapshot, found by their bytes: all other lines are neither parsed nor checked.

Knows nothing of files.
"""

from __future__ import annotations

from gflowd.snapshot import sound_body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FAMILY = b'"family":'  # in the spec of an array


def sift(parts: Iterable[bytes], ids: Iterable[int]) -> list[bytes] | None:
    """The JSON of the lines whose record has one of `ids`, and of those that make arrays, in their order; a few others
    may be among them. `parts` are whole commits, cut anywhere. None when a line that was found is damaged.
    """
    needles = [FAMILY, *(b'",%d,' % each for each in ids)]
    found: list[bytes] = []
    rest = b""
    for part in parts:
        block = rest + part
        end = block.rfind(b"\n") + 1
        rest = block[end:]
        places = sorted({place for needle in needles for place in _lines_with(needle, block, end)})
        found += [block[begin:after] for begin, after in places]
    bodies = [body for line in found if (body := sound_body(line)) is not None]
    return bodies if len(bodies) == len(found) else None


def _lines_with(needle: bytes, block: bytes, end: int) -> Iterable[tuple[int, int]]:
    """Where the lines are in `block[:end]` that contain `needle`."""
    at = block.find(needle, 0, end)
    while at >= 0:
        after = block.index(b"\n", at)
        yield block.rfind(b"\n", 0, at) + 1, after
        at = block.find(needle, after, end)
