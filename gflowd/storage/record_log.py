"""The format of the snapshot: a log of records in which the last line of a (kind, id) counts. Bytes in, records out.

A line is `crc32 SP json`, the JSON a list `[more, next, kind, id, value]`: `more` is 1 on every line of a commit but
its last, `next` is the next job id to be given, `value` is null where the record is gone. The first line is the
header. Knows nothing of files or of the meaning of values.
"""

from __future__ import annotations

import re
import zlib

from gflowd.core.job.records import HEADER
from gflowd.core.syntax import fast_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Key = tuple[str, int | str]  # kind, id
    Dumps = Callable[[object], bytes]

FORMAT = 1
LONGEST_ID = 15  # digits
WORTH_ORJSON = 1 << 20  # bytes

# The start of a line as a killed writer leaves it: unlike a damaged disk, JSON has no raw control characters.
_TORN = rb"[0-9a-f]{0,8}|[0-9a-f]{8} (?:\[[^\x00-\x1f]*)?"
_NEXT_ID = rb' \[[01],(\d{1,15}),"'  # in a user's text the quote would be escaped


stdlib_dumps = fast_json.dumps  # without importing orjson


def encode_line(more: int, next_id: int, key: Key, value: Any, dumps: Dumps = stdlib_dumps) -> bytes:
    """One line of the snapshot. Raises ValueError or TypeError for what JSON or UTF-8 cannot hold."""
    body = dumps([more, next_id, *key, value])
    return b"%08x %b\n" % (zlib.crc32(body), body)


def sound_body(line: bytes) -> bytes | None:
    """The JSON of a line without its newline, or None if its checksum does not fit."""
    body = line[9:]
    return body if line[:9] == b"%08x " % zlib.crc32(body) else None


def _sound_bodies(lines: list[bytes]) -> list[bytes] | None:
    """The JSON of all lines, or None if one of them is damaged; half the cost of `sound_body` for each."""
    bodies = [line[9:] for line in lines]
    heads = b"%08x " * len(lines) % tuple(map(zlib.crc32, bodies))
    return bodies if heads == b"".join([line[:9] for line in lines]) else None


def header_record(start: bytes) -> list[Any] | None:
    """The header at the start of a snapshot; None if the first line is no sound header.

    Its form, `[_, _, "header", 0, {"format": n, ...}]`, is the only thing that no later format may change.
    """
    line, newline, _ = start.partition(b"\n")
    body = sound_body(line) if newline else None
    record = None if body is None else _record(body)
    return record if record is not None and record[2:4] == [HEADER, 0] else None


def closes(body: bytes) -> bool:
    """Whether a line's JSON is the last of its commit."""
    return body.startswith(b"[0,")


def _parsed(bodies: list[bytes]) -> list[Any]:
    """The records of lines. Importing orjson takes longer than the standard library needs for a thousand jobs."""
    data = b"[%b]" % b",".join(bodies)
    if len(data) < WORTH_ORJSON:
        return fast_json.loads(data)  # type: ignore[no-any-return]
    import orjson

    return orjson.loads(data)  # type: ignore[no-any-return]


def _record(body: bytes) -> list[Any] | None:
    """The record of one line; None if the checksum is right and nothing else."""
    try:
        found = fast_json.loads(body)
    except (ValueError, RecursionError):
        return None
    is_record = isinstance(found, list) and [type(part) for part in found[:3]] == [int, int, str] and len(found) == 5
    return found if is_record and type(found[3]) in (int, str) else None


class Fold:
    """The folded snapshot: `of(kind)[id]` is the last value. Grows as bytes are fed to it."""

    __slots__ = ("dropped", "lines", "next_id", "records")

    def __init__(self) -> None:
        self.records: dict[str, dict[Any, Any]] = {}
        self.next_id = 1
        self.lines = 0
        self.dropped: list[str] = []  # what could not be read, in words

    def of(self, kind: str) -> dict[Any, Any]:
        """The records of a kind by id; empty if there is none."""
        return self.records.setdefault(kind, {})

    def live(self) -> int:
        """How many lines a compacted file would have."""
        return sum(map(len, self.records.values()))

    def feed(self, data: bytes, offset: int = 0) -> tuple[int, list[Key]]:
        """Reads the complete commits of `data`, which begins at byte `offset` of the file.

        Returns how many bytes were taken, and the key of each record in order. A damaged line is dropped as soon as
        a sound commit follows it.
        """
        *lines, rest = data.split(b"\n")
        bodies = _sound_bodies(lines)
        if bodies and closes(bodies[-1]):
            return len(data) - len(rest), self.take(bodies)
        return self._feed_one_by_one(lines, offset)

    def _feed_one_by_one(self, lines: list[bytes], offset: int) -> tuple[int, list[Key]]:
        """As `feed`, for lines of which some are damaged or the last does not close a commit."""
        taken = position = 0
        bodies: list[bytes] = []
        waiting: list[bytes] = []
        damaged: list[str] = []
        for line in lines:
            body = sound_body(line)
            if body is None:
                damaged.append(f"line of {len(line)} bytes at byte {offset + position}")
            else:
                waiting.append(body)
            position += len(line) + 1
            if body is not None and closes(body):
                bodies += waiting
                self.dropped += damaged
                waiting, damaged, taken = [], [], position
        return taken, self.take(bodies)

    def salvage(self, data: bytes) -> None:
        """Reads every valid line of `data`, including those of incomplete commits."""
        bodies = [body for line in data.split(b"\n")[:-1] if (body := sound_body(line)) is not None]
        self.take(bodies)

    def take(self, bodies: list[bytes]) -> list[Key]:
        """Reads the records of valid lines, all at once; one by one if a line with a correct checksum is no record."""
        lines = self.lines
        try:
            seen = self._take(_parsed(bodies))
            if all(type(kind) is str for kind in self.records):
                return seen
        except (TypeError, ValueError, RecursionError):
            pass
        self.lines = lines
        self.records = {kind: found for kind, found in self.records.items() if type(kind) is str}
        records = [(body, _record(body)) for body in bodies]
        self.dropped += [f"no record: {body[:60]!r}" for body, record in records if record is None]
        return self._take(record for _, record in records if record is not None)

    def _take(self, records: Iterable[list[Any]]) -> list[Key]:
        seen: list[Key] = []
        highest = self.next_id
        of_kind, last = {}, None
        for _more, next_id, kind, key, value in records:
            if kind != last:
                of_kind, last = self.of(kind), kind
            if value is None:
                of_kind.pop(key, None)
            else:
                of_kind[key] = value
            highest = max(next_id, highest)
            seen.append((kind, key))
        self.lines += len(seen)
        self.next_id = highest
        return seen


def is_torn(tail: bytes) -> bool:
    """Whether the last complete commit is followed by the undamaged start of one, as a killed writer leaves it."""
    *lines, rest = tail.split(b"\n")
    if any(sound_body(line) is None for line in lines):
        return False
    return re.fullmatch(_TORN, rest) is not None and sound_body(rest[:-1]) is None  # else its newline is what was lost


def next_id_of(body: bytes) -> int:
    """The next id in the JSON of a valid line; 0 if it is not a record. No regex: compiling one is expensive."""
    word, _, after = body[3:].partition(b",")
    return int(word) if word.isdigit() and len(word) <= LONGEST_ID and after.startswith(b'"') else 0


def next_id_in(data: bytes) -> int:
    """The greatest next id in the lines of `data`, valid or not; 0 if none has one."""
    return max(map(int, re.findall(_NEXT_ID, data)), default=0)
