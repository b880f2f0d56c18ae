"""The tree that a commit is of, from the objects of a repository: loose ones and those in packs, gitformat-pack(5)."""

from __future__ import annotations

import itertools
import os
import struct
import zlib

from gflowctl.submit.git import files
from gflowctl.submit.git.files import UnreadableError

LARGEST = 1 << 20  # bytes of a commit
MOST_PACKS = 200
MOST_PLACES = 8
DEEPEST = 60  # deltas on deltas; git makes 50
COMMIT, BY_OFFSET, BY_ID = 1, 6, 7  # kinds of objects in a pack


def tree_of(shared: str, commit: str) -> bytes:
    """The id of a commit's tree. Raises OSError, `UnreadableError`, struct.error, IndexError and ValueError where it is
    not to be had.
    """
    for place in _places(f"{shared}/objects"):
        content = _loose(place, commit)
        if content is None:
            content = _packed(place, bytes.fromhex(commit))
        if content is not None:
            if not content.startswith(b"tree ") or content[5 + len(commit) : 6 + len(commit)] != b"\n":
                raise UnreadableError
            return bytes.fromhex(content[5 : 5 + len(commit)].decode())
    raise UnreadableError


def _places(own: str) -> list[str]:
    """Where objects are: the repository's own, then those that it borrows."""
    named = files.kept(f"{own}/info/alternates") or b""
    return [own, *(os.path.join(own, os.fsdecode(line)) for line in named.splitlines()[:MOST_PLACES] if line)]


def _loose(place: str, commit: str) -> bytes | None:
    data = files.kept(f"{place}/{commit[:2]}/{commit[2:]}", LARGEST)
    if data is None:
        return None
    head, _, content = _inflated(data).partition(b"\0")
    if not head.startswith(b"commit "):
        raise UnreadableError
    return content


def _inflated(data: bytes) -> bytes:
    """The first object in `data`, unpacked up to a bound."""
    try:
        return zlib.decompressobj().decompress(data, LARGEST)
    except zlib.error:
        raise UnreadableError from None


def _packed(place: str, commit: bytes) -> bytes | None:
    try:
        names = os.listdir(f"{place}/pack")
    except FileNotFoundError:
        return None
    for name in itertools.islice((name for name in names if name.endswith(".idx")), MOST_PACKS):
        path = f"{place}/pack/{name}"
        with open(path, "rb", buffering=0) as table:
            offset = _offset(table.fileno(), commit)
            if offset is not None:
                with open(f"{path[:-4]}.pack", "rb", buffering=0) as pack:
                    kind, content = _object(table.fileno(), pack.fileno(), offset, len(commit), DEEPEST)
                if kind != COMMIT:
                    raise UnreadableError
                return content
    return None


def _offset(table: int, wanted: bytes) -> int | None:
    """Where an object is in the pack of an index of version 2; None where it is not."""
    size, first = len(wanted), wanted[0]
    head = os.pread(table, 8 + 256 * 4, 0)
    if head[:8] != b"\xfftOc\0\0\0\2":
        return None
    fan = struct.unpack_from(">256I", head, 8)
    begin, end, count = fan[first - 1] if first else 0, fan[first], fan[255]
    ids = os.pread(table, min((end - begin) * size, LARGEST), len(head) + begin * size)
    at = ids.find(wanted)
    while at >= 0 and at % size:
        at = ids.find(wanted, at + 1)
    if at < 0:
        return None
    offsets = len(head) + count * (size + 4)
    (found,) = struct.unpack(">I", os.pread(table, 4, offsets + (begin + at // size) * 4))
    if not found & 1 << 31:
        return int(found)
    (found,) = struct.unpack(">Q", os.pread(table, 8, offsets + count * 4 + (found & ~(1 << 31)) * 8))
    return int(found)


def _object(table: int, pack: int, offset: int, size: int, depth: int) -> tuple[int, bytes]:
    """The kind and the content of the object at `offset`."""
    if depth == 0:
        raise UnreadableError
    data = os.pread(pack, LARGEST, offset)
    kind, place = data[0] >> 4 & 7, 0
    while data[place] & 128:
        place += 1
    place += 1
    if kind == BY_OFFSET:
        back = data[place] & 127
        while data[place] & 128:
            place += 1
            back = (back + 1 << 7) | data[place] & 127
        base = offset - back
        place += 1
    elif kind == BY_ID:
        found = _offset(table, data[place : place + size])
        if found is None:
            raise UnreadableError
        base = found
        place += size
    else:
        return kind, _inflated(data[place:])
    if not 0 < base < 1 << 62:
        raise UnreadableError
    kind, content = _object(table, pack, base, size, depth - 1)
    return kind, _patched(content, _inflated(data[place:]))


def _patched(base: bytes, delta: bytes) -> bytes:
    """What a delta makes of `base`: pieces of that, and bytes of its own."""
    place = 0
    for _ in range(2):  # two sizes, of what there is and of what will be
        while delta[place] & 128:
            place += 1
        place += 1
    made = b""
    while place < len(delta):
        code = delta[place]
        place += 1
        if code & 128:
            numbers = [0] * 7
            for bit in range(7):
                if code & 1 << bit:
                    numbers[bit] = delta[place]
                    place += 1
            start = int.from_bytes(numbers[:4], "little")
            made += base[start : start + (int.from_bytes(numbers[4:], "little") or 1 << 16)]
        else:
            made += delta[place : place + code]
            place += code
        if len(made) > LARGEST or not code:
            raise UnreadableError
    return made
