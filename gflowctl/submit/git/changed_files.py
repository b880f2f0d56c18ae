"""Whether the files of a work tree differ from its commit. The index is compared with the files by their lstat, and
with the commit by the tree that it would make. Files that git does not track do not count.
"""

from __future__ import annotations

import os
import re
import stat

from gflowctl.submit.git import files, index, objects
from gflowctl.submit.git.files import UnreadableError
from gflowd.core.job.value_base import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from gflowctl.submit.git.index import Entry
    from gflowd.core.job.model import GitState

LARGEST_INDEX = 4 << 20  # bytes: to compare more takes longer than a submission may
LARGEST_COMPARED = 1 << 20  # bytes of a file whose times do not tell whether it was changed
LINK, SUBMODULE = 0o120000, 0o160000
_KINDS = dict.fromkeys((0o100644, 0o100755, 0o100664), stat.S_IFREG) | {LINK: stat.S_IFLNK, SUBMODULE: stat.S_IFDIR}
_WITHOUT_MODES = re.compile(rb"(?:^|\])\s*filemode\s*=\s*(?:false|no|off|0)\b", re.MULTILINE | re.IGNORECASE)


class Tree(Value):
    """A work tree: its top, its git directory, the directory that the repository's work trees share, its commit (None:
    none yet), and what tells the state of a submodule at a path.
    """

    __slots__ = ("commit", "git", "shared", "submodule", "top")

    def __init__(
        self, top: str, git: str, shared: str, commit: str | None, submodule: Callable[[bytes], GitState | None]
    ) -> None:
        self.top: Final = os.fsencode(top)
        self.git: Final = git
        self.shared: Final = shared
        self.commit: Final = commit
        self.submodule: Final = submodule


def are_there(tree: Tree, is_late: Callable[[], bool]) -> bool | None:
    """Whether anything was changed since the commit, staged or not; None where that is not known by the time that
    `is_late`. Raises OSError and `UnreadableError` where it cannot be known.
    """
    size = 20 if tree.commit is None else len(tree.commit) // 2
    path = f"{tree.git}/index"
    data = files.kept(path, LARGEST_INDEX)
    written = 0 if data is None else os.stat(path).st_mtime_ns
    seen: list[tuple[bytes, int, bytes]] = []
    compare = _Comparison(tree, written, size)
    certain = True
    for entry in () if data is None else index.entries(data, size):
        if is_late():
            return None
        if entry.stage or entry.to_be_added:
            return True
        differs = None if entry.is_ignored else compare.differs(entry)
        if differs:
            return True
        certain = certain and (entry.is_ignored or differs is not None)
        seen.append((entry.path, entry.mode, entry.id))
    if tree.commit is None:
        return True if seen else False if certain else None
    if index.tree_id(seen, size) != objects.tree_of(tree.shared, tree.commit):
        return True
    return False if certain else None


def _content(path: bytes) -> bytes:
    return files.content(path, LARGEST_COMPARED, follow=False)


class _Comparison:
    """Of entries of an index that was `written` at a time (in ns) with the files."""

    def __init__(self, tree: Tree, written: int, size: int) -> None:
        self._tree = tree
        self._written = written
        self._size = size
        self._is_converted = os.path.exists(f"{tree.shared}/info/attributes") or os.path.exists(
            b"%b/.gitattributes" % tree.top
        )
        self._has_modes: bool | None = None

    def differs(self, entry: Entry) -> bool | None:
        """Whether a file is not what its entry says; None where that cannot be told."""
        if entry.path.endswith(b".gitattributes"):
            self._is_converted = True
        path = b"%b/%b" % (self._tree.top, entry.path)
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return None
        if stat.S_IFMT(found.st_mode) != _KINDS[entry.mode]:
            return True
        if entry.mode == SUBMODULE:
            return self._differs_submodule(entry)
        if (entry.size and entry.size != found.st_size & 0xFFFFFFFF) or self._differs_in_mode(entry, found):
            return True
        told = entry.is_as_recorded(found) and not entry.may_be_older(self._written)
        return False if told else self._differs_within(entry, path, found.st_size)

    def _differs_submodule(self, entry: Entry) -> bool | None:
        state = self._tree.submodule(entry.path)
        if state is None:
            return False
        if state.commit is None:
            return None
        return True if state.commit != entry.id.hex() else state.dirty

    def _differs_within(self, entry: Entry, path: bytes, length: int) -> bool | None:
        """By its content, where the times do not tell: it was touched, copied, or written as the index was."""
        if length > LARGEST_COMPARED:
            return None
        try:
            read = os.readlink if entry.mode == LINK else _content
            content = read(path)
        except (OSError, UnreadableError):
            return None
        if files.digest(b"blob %d\0%b" % (len(content), content), self._size) == entry.id:
            return False
        return None if self._is_converted or b"\r" in content else True  # git may keep other bytes of it

    def _differs_in_mode(self, entry: Entry, found: os.stat_result) -> bool:
        """Whether it may be executed, or no more, on a file system that knows (core.fileMode)."""
        if entry.mode == LINK or not (entry.mode ^ found.st_mode) & 0o100:
            return False
        if self._has_modes is None:
            config = files.kept(f"{self._tree.shared}/config") or b""
            self._has_modes = not _WITHOUT_MODES.search(config)
        return self._has_modes
