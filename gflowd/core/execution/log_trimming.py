"""What is cut out of a log that outgrew its limit, and the line that says so. Pure.

The middle is removed: the first half of the limit and the end stay; a line between them says what is
missing. A log is appended to only, so the place of that line does not change.
"""

from __future__ import annotations

from gflowd.core.job.value_base import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

BLOCK = 1 << 16  # bytes: no file system that can take a piece out of a file has larger blocks
SMALL_BLOCK = 1 << 12  # bytes: where this is not a whole block of the file system, the rest of the log is copied
LONGEST_END = 4 << 20  # bytes: what a cut leaves of the end, which may have to be copied
FULL_SPEED = 1 << 30  # bytes a second: faster than most disks
SOONEST, LATEST = 0.05, 2.0  # seconds between two checks


class Mark(Value):
    """Where the line stands (offsets in bytes), and how many bytes are missing there by now."""

    __slots__ = ("begin", "end", "missing")

    def __init__(self, begin: int, end: int, missing: int) -> None:
        self.begin: Final = begin
        self.end: Final = end
        self.missing: Final = missing


def piece(size: int, limit: int) -> tuple[int, int] | None:
    """From where to where a log of `size` bytes is cut, in blocks that a quarter of the limit holds; None while it is
    within `limit`.
    """
    block = _block(limit)
    begin = limit // 2 // block * block
    end = (size - min(limit // 4, LONGEST_END)) // block * block
    return (begin, end) if size > limit else None


def _block(limit: int) -> int:
    """In which steps to cut: what is left is half of the limit, a quarter of it and less than a block."""
    return next((block for block in (BLOCK, SMALL_BLOCK) if 4 * block <= limit), 1)


def line(missing: int, limit: int) -> bytes:
    """What the log says between its parts; always of one length for one limit."""
    return b"\n[gflow: %20d bytes are cut out here; [logs] max_size is %b]\n" % (missing, _said(limit))


def _said(limit: int) -> bytes:
    for unit, size in ((b"MiB", 1 << 20), (b"KiB", 1 << 10)):
        if limit % size == 0:
            return b"%d %b" % (limit // size, unit)
    return b"%d bytes" % limit


def encode(mark: Mark) -> bytes:
    """`mark` as the file beside the log holds it."""
    return b"%d %d %d\n" % (mark.begin, mark.end, mark.missing)


def decode(text: bytes) -> Mark | None:
    """The mark that `encode` wrote; None for anything else."""
    words = text.split()
    if len(words) != 3 or not all(word.isdigit() and len(word) < 20 for word in words):
        return None
    begin, end, missing = map(int, words)
    return Mark(begin, end, missing)


def moved(position: int, missing: int, mark: Mark) -> int:
    """Where a reader at `position` continues after `missing` bytes were cut out: at the same byte, or at the
    line where that byte is gone.
    """
    gone = mark.missing - missing
    if gone <= 0 or position < mark.end:
        return position
    return position - gone if position - gone >= mark.end else mark.begin


def next_look(size: int, limit: int, rate: float) -> float:
    """Seconds until the next look at a log that grows by `rate` bytes a second: when it is halfway to its limit, and
    before it could be at twice the limit at full speed, unless that is too often for a quiet log.
    """
    latest = max(LATEST, (2 * limit - size) / FULL_SPEED)
    return min(latest, max(SOONEST, (limit - size) / rate / 2)) if rate > 0 else latest
