"""The format of the snapshot: a log of records in which the last line of a (kind, id) counts. Bytes in, records out.

A line is `crc32 SP json`, the JSON a list `[more, next, kind, id, value]`: `more` is 1 on every line of a commit but
its last, `next` is the next job id to be given, `value` is null where the record is gone. The first line is the
header. Knows nothing of files or of the meaning of values.
"""

from __future__ import annotations

import re
import zlib
from itertools import compress

from gflowd.core.job.records import HEADER, LARGEST_ID, LONGEST_ID
from gflowd.core.syntax import fast_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    Key = tuple[str, int | str]  # kind, id
    Dumps = Callable[[object], bytes]
    Aside = tuple[bytes, str]
    _OfKind = tuple[str, Sequence[int], Sequence[int | str], Sequence[Any]]  # kind; next ids, keys and values

FORMAT = 1
FEW = 32  # records that are looked at one by one; of more that are not all sound, each half by itself
WORTH_ORJSON = 1 << 20  # bytes

# The start of a line as a killed writer leaves it: unlike a damaged disk, JSON has no raw control characters.
_TORN = rb"[0-9a-f]{0,8}|[0-9a-f]{8} (?:\[[^\x00-\x1f]*)?"
_NEXT_ID = rb' \[[01],(\d{1,15}),"'  # in a user's text the quote would be escaped


stdlib_dumps = fast_json.dumps  # without importing orjson


def encode_line(more: int, next_id: int, key: Key, value: Any, dumps: Dumps = stdlib_dumps) -> bytes:
    """One line of the snapshot. Raises ValueError or TypeError for what JSON or UTF-8 cannot hold."""
    return sealed(dumps([more, next_id, *key, value]))


def sealed(body: bytes) -> bytes:
    """The line that has this JSON."""
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
    """The header at the start of a snapshot; None if the first line is not a valid header.

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
    if not isinstance(found, list) or [type(part) for part in found[:3]] != [int, int, str] or len(found) != 5:
        return None
    return found if type(found[3]) in (int, str) and 0 < found[1] <= LARGEST_ID else None


class Fold:
    """The folded snapshot: `of(kind)[id]` is the last value. Grows as bytes are fed to it.

    A record that makes no sense to this version is put into `aside` instead, and the last value before it stays. With
    `judged` off, records are not examined for this.
    """

    __slots__ = ("aside", "dropped", "judged", "lines", "next_id", "records")

    def __init__(self, *, judged: bool = True) -> None:
        self.records: dict[str, dict[Any, Any]] = {}
        self.next_id = 1
        self.lines = 0
        self.dropped: list[str] = []  # what could not be read, in words
        self.aside: dict[Key, Aside] = {}  # the JSON of the line, and what is wrong with it, in words
        self.judged = judged

    def of(self, kind: str) -> dict[Any, Any]:
        """The records of a kind by id; empty if there is none."""
        return self.records.setdefault(kind, {})

    def live(self) -> int:
        """How many lines a compacted file would have."""
        return sum(map(len, self.records.values())) + len(self.aside)

    def feed(self, data: bytes, offset: int = 0) -> tuple[int, list[Key]]:
        """Reads the complete commits of `data`, which begins at byte `offset` of the file.

        Returns how many bytes were taken, and the keys of the records, those of a kind together. A damaged line is
        dropped as soon as a sound commit follows it.
        """
        *lines, rest = data.split(b"\n")
        bodies = _sound_bodies(lines)
        if bodies and closes(bodies[-1]):
            return len(data) - len(rest), self.take(bodies)
        return self._feed_one_by_one(lines, offset)

    def take_own(self, data: bytes, loads: Callable[[bytes], Any]) -> list[Key]:
        """Reads whole commits of this process's own making, which need no examination; the keys of their records."""
        records = [loads(line[9:]) for line in data.split(b"\n")[:-1]]
        return self._take([(kind, (next_id,), (key,), (value,)) for _, next_id, kind, key, value in records])

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
        """Reads the records of valid lines; returns the keys of those that changed something.

        At once where all are records that make sense, which is what they nearly always are.
        """
        try:
            found = _by_kind(_parsed(bodies)) if bodies else None
        except (TypeError, ValueError, RecursionError):
            found = None
        if found is not None and (not self.judged or _make_sense(found)):
            return self._take(found)
        if len(bodies) > FEW:
            half = len(bodies) // 2
            return self.take(bodies[:half]) + self.take(bodies[half:])
        return [key for body in bodies for key in self._take_one(body)]

    def _take_one(self, body: bytes) -> list[Key]:
        """One line, whose record may be none, or make no sense."""
        record = _record(body)
        if record is None:
            self.dropped.append(f"no record: {body[:60]!r}")
            return []
        _, next_id, kind, key, value = record
        if self.judged and value is not None:
            from gflowd.core.job import record_rules

            why = record_rules.fault(kind, key, next_id, value)
            if why is not None:
                self.aside[kind, key] = body, why
                self.lines += 1
                self.next_id = max(self.next_id, next_id)
                return []
        return self._take([(kind, (next_id,), (key,), (value,))])

    def _take(self, found: Iterable[_OfKind]) -> list[Key]:
        """Takes in sound records; the keys, in order of kinds."""
        seen: list[Key] = []
        for kind, next_ids, keys, values in found:
            of_kind = self.of(kind)
            touched: Iterable[int | str] = keys
            if type(None) not in {*map(type, values)}:
                of_kind.update(zip(keys, values, strict=True))
            else:
                touched = _replace(of_kind, zip(keys, values, strict=True))
            seen += [(kind, key) for key in touched]
            for key in keys if self.aside else ():
                self.aside.pop((kind, key), None)
            self.lines += len(keys)
            self.next_id = max(self.next_id, *next_ids)
        return seen


def _replace(of_kind: dict[Any, Any], records: Iterable[tuple[int | str, Any]]) -> list[int | str]:
    """Takes in records of a kind, some of which remove one; returns the keys, except of removals without effect."""
    touched = []
    for key, value in records:
        if value is not None:
            of_kind[key] = value
        elif of_kind.pop(key, None) is None:
            continue
        touched.append(key)
    return touched


def _by_kind(records: list[Any]) -> list[_OfKind] | None:
    """Next ids, keys and values of each kind of record; None where one is none. Raises TypeError, ValueError for others
    that are none.
    """
    mores, next_ids, kinds, keys, values = [*zip(*records, strict=True)]
    types = [{*map(type, part)} for part in (records, mores, next_ids, kinds)]
    if types != [{list}, {int}, {int}, {str}] or not {*map(type, keys)} <= {int, str}:
        return None
    if min(next_ids) < 1 or max(next_ids) > LARGEST_ID:
        return None
    words = dict.fromkeys(kinds)
    if len(words) == 1:
        return [(kinds[0], next_ids, keys, values)]
    masks = [(word, [each == word for each in kinds]) for word in words]
    return [(word, *(tuple(compress(part, mask)) for part in (next_ids, keys, values))) for word, mask in masks]


def _make_sense(found: Iterable[_OfKind]) -> bool:
    """Whether all records do, but for those that remove one."""
    from gflowd.core.job import record_rules

    for kind, *parts in found:
        if type(None) in {*map(type, parts[2])}:
            there = [each is not None for each in parts[2]]
            parts = [tuple(compress(part, there)) for part in parts]  # noqa: PLW2901
        next_ids, keys, values = parts
        if values and not record_rules.make_sense(kind, keys, next_ids, values):
            return False
    return True


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
