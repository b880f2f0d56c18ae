"""The index of a work tree, gitformat-index(5) of versions 2 to 4: what git last saw of each file, and what the next
commit would hold. Looks at no file.
"""

from __future__ import annotations

import struct

from gflowctl.submit.git import files
from gflowctl.submit.git.files import UnreadableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

MOST_ENTRIES = 10_000
LONGEST_PATH = 4096  # bytes
_ASSUME_VALID, _EXTENDED, _NAME = 0x8000, 0x4000, 0x0FFF  # of the flags
_SKIP_WORK_TREE, _INTENT_TO_ADD = 0x4000, 0x2000  # of the extended ones
_STAT = struct.Struct(">10I")
_SHORT = struct.Struct(">H")
_LONG = struct.Struct(">I")
_NO_NAMES = frozenset((b"", b".", b"..", b".git"))
_MODES = frozenset((0o100644, 0o100755, 0o100664, 0o120000, 0o160000))


class Entry:
    """One file: its path from the top of the work tree, what lstat told of it, and the id of its content."""

    __slots__ = ("_told", "id", "is_ignored", "mode", "path", "size", "stage", "to_be_added")

    def __init__(self, told: tuple[int, ...], found_id: bytes, flags: int, more: int, path: bytes) -> None:
        self._told = told
        self.id = found_id
        self.path = path
        self.mode = told[6]
        self.size = told[9]  # 0 too where git wants the content compared
        self.stage = flags >> 12 & 3  # not 0 amid a merge
        self.is_ignored = bool(flags & _ASSUME_VALID or more & _SKIP_WORK_TREE)
        self.to_be_added = bool(more & _INTENT_TO_ADD)

    def is_as_recorded(self, found: os.stat_result) -> bool:
        """Whether a file has not been touched since git looked, times and all."""
        changed, changed_ns, modified, modified_ns, _, inode, _, uid, gid, size = self._told
        return (
            size == found.st_size & 0xFFFFFFFF
            and _same(modified, modified_ns, found.st_mtime_ns)
            and _same(changed, changed_ns, found.st_ctime_ns)
            and inode == found.st_ino & 0xFFFFFFFF
            and uid == found.st_uid
            and gid == found.st_gid
        )

    def may_be_older(self, written: int) -> bool:
        """Whether a file may have changed at the same moment as the index was `written` (ns)."""
        _, _, modified, modified_ns, *_ = self._told
        if not modified_ns:
            return modified >= written // 10**9
        return modified * 10**9 + modified_ns >= written


def _same(seconds: int, ns: int, found: int) -> bool:
    """Some writers of an index know no parts of a second."""
    whole, rest = divmod(found, 10**9)
    return seconds == whole & 0xFFFFFFFF and ns in (rest, 0)


def entries(data: bytes, size: int) -> Iterator[Entry]:
    """The entries of an index whose ids have `size` bytes. Raises `UnreadableError` for what is none, or is too large;
    struct.error, IndexError and ValueError where it is cut off.
    """
    version, count = struct.unpack_from(">4xII", data)
    if data[:4] != b"DIRC" or version not in (2, 3, 4) or count > MOST_ENTRIES:
        raise UnreadableError
    place, path = 12, b""
    for _ in range(count):
        start = place
        told = _STAT.unpack_from(data, place)
        found_id = data[place + 40 : place + 40 + size]
        place += 40 + size
        (flags,) = _SHORT.unpack_from(data, place)
        place += 2
        more = 0
        if flags & _EXTENDED and version > 2:
            (more,) = _SHORT.unpack_from(data, place)
            place += 2
        if version == 4:
            strip, place = _number(data, place)
            end = data.index(b"\0", place)
            path = path[: len(path) - strip] + data[place:end]
            place = end + 1
        else:
            end = place + (flags & _NAME) if flags & _NAME < _NAME else data.index(b"\0", place)
            path = data[place:end]
            place = start + (end - start + 8 & ~7)
        if told[6] not in _MODES or not _is_inside(path):
            raise UnreadableError
        yield Entry(told, found_id, flags, more, path)
    _check_extensions(data, place, len(data) - size)


def _is_inside(path: bytes) -> bool:
    """Whether a path leads to a place below the top of the work tree, and not into a `.git`."""
    if not 0 < len(path) <= LONGEST_PATH or b"\0" in path:
        return False
    return not _NO_NAMES.intersection(path.split(b"/"))


def _number(data: bytes, place: int) -> tuple[int, int]:
    """A number of variable length, and where the next thing begins."""
    byte = data[place]
    value = byte & 127
    while byte & 128:
        place += 1
        byte = data[place]
        value = (value + 1 << 7) | byte & 127
        if value > LONGEST_PATH:
            raise UnreadableError
    return value, place + 1


def _check_extensions(data: bytes, place: int, end: int) -> None:
    """Raises `UnreadableError` for one that changes what the entries mean: those begin with a small letter."""
    while place + 8 <= end:
        if data[place : place + 1].islower():
            raise UnreadableError
        (length,) = _LONG.unpack_from(data, place + 4)
        place += 8 + length


def tree_id(seen: Iterable[tuple[bytes, int, bytes]], size: int) -> bytes:
    """The id of the tree of a commit of these paths, modes and ids, which are in the order of an index."""
    stack: list[tuple[bytes, list[bytes]]] = [(b"", [])]  # directories amid their files, each with its lines

    def close() -> None:
        path, lines = stack.pop()
        name = path[:-1].rpartition(b"/")[2]
        stack[-1][1].append(b"40000 %b\0%b" % (name, _tree(lines, size)))

    for path, mode, found_id in seen:
        while not path.startswith(stack[-1][0]):
            close()
        *folders, name = path[len(stack[-1][0]) :].split(b"/")
        for folder in folders:
            stack.append((b"%b%b/" % (stack[-1][0], folder), []))
        stack[-1][1].append(b"%o %b\0%b" % (mode, name, found_id))
    while len(stack) > 1:
        close()
    return _tree(stack[0][1], size)


def _tree(lines: list[bytes], size: int) -> bytes:
    body = b"".join(lines)
    return files.digest(b"tree %d\0%b" % (len(body), body), size)
