"""The commit, the branch and the state of the work tree that a directory is in. Reads the files that
gitrepository-layout(5) describes, also those of linked work trees, submodules and packed refs; ignores GIT_DIR.

A damaged repository is not an error: what cannot be read is None.
"""

from __future__ import annotations

import os
import re
import struct
import time

from gflowctl.submit.git import files
from gflowctl.submit.git.files import UnreadableError
from gflowd.core.job.model import GitState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

BUDGET = 0.02  # seconds, for the question whether files were changed
LONGEST_REF = 1024  # bytes
LARGEST_PACKED_REFS = 16 << 20  # bytes
DEEPEST_REF = 5  # links of refs to refs, as git
DEEPEST_SUBMODULE = 4
BROKEN = (OSError, ValueError, IndexError, struct.error, UnreadableError)  # what reading a broken repository raises

_COMMIT = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_REF = re.compile(rb"refs/(?!.*(?://|\.\.|/\.|@\{|\.lock$|/$))[^\0-\x20\x7f~^:?*\[\\]+")
_BARE = re.compile(rb"(?:^|\])\s*bare\s*=\s*(?:true|yes|on|1)\b", re.MULTILINE | re.IGNORECASE)
_REFTABLE = b"refs/heads/.invalid"  # what HEAD holds where refs are kept otherwise


def read(directory: str, budget: float = BUDGET, clock: Callable[[], float] = time.monotonic) -> GitState | None:
    """The state of the work tree that `directory`, absolute and without links, is in; None where it is in none.

    `budget` is how many seconds of `clock` it may take to find out whether files were changed; past it, that is None.
    """
    try:
        found = _find(directory)
    except BROKEN:
        return None
    return None if found is None else _state(*found, clock, clock() + budget, 0)


def _find(directory: str) -> tuple[str, str] | None:
    """The top of the work tree and its git directory: the nearest above on the same file system, as git looks."""
    device, place = os.stat(directory).st_dev, directory.rstrip("/")
    while True:
        if _is_git_directory(place) or os.stat(place or "/").st_dev != device:
            return None  # a bare repository, the inside of a `.git`, another file system
        if (git := _git_directory(place)) is not None:
            bare = _BARE.search(files.kept(f"{git}/config") or b"") and not os.path.exists(f"{git}/commondir")
            return None if bare else (place or "/", git)
        if not place:
            return None
        place = place.rpartition("/")[0]


def _git_directory(top: str) -> str | None:
    """What `.git` in `top` leads to: a directory, or one that a file names (work trees, submodules)."""
    path = f"{top}/.git"
    if os.path.isdir(path):
        return path if _is_git_directory(path) else None
    named = files.kept(path)
    if named is None or not named.startswith(b"gitdir: "):
        return None
    found = os.path.join(top or "/", os.fsdecode(named[8:].rstrip(b"\r\n")))
    return found if _is_git_directory(found) else None


def _is_git_directory(path: str) -> bool:
    if not os.path.lexists(f"{path}/HEAD"):
        return False
    shared = _shared(path)
    return os.path.isdir(f"{shared}/objects") and os.path.isdir(f"{shared}/refs")


def _shared(git: str) -> str:
    """Where the repository of a git directory keeps what its work trees share."""
    named = files.kept(f"{git}/commondir")
    return git if named is None else os.path.join(git, os.fsdecode(named.rstrip(b"\r\n")))


def _state(top: str, git: str, clock: Callable[[], float], deadline: float, depth: int) -> GitState:
    try:
        shared = _shared(git)
        branch, commit = _head(git, shared)
    except BROKEN:
        return GitState()
    try:
        from gflowctl.submit.git import changed_files

        def submodule(path: bytes) -> GitState | None:
            """The state of a submodule; None where it is not checked out."""
            inner = os.path.join(top, os.fsdecode(path))
            own = _git_directory(inner)
            if depth >= DEEPEST_SUBMODULE:
                return GitState()
            return None if own is None else _state(inner, own, clock, deadline, depth + 1)

        dirty = changed_files.are_there(
            changed_files.Tree(top, git, shared, commit, submodule), lambda: clock() >= deadline
        )
    except BROKEN:
        dirty = None
    short = None if branch is None else branch.removeprefix(b"refs/heads/").decode(errors="replace")
    return GitState(commit=commit, branch=short, dirty=dirty)


def _head(git: str, shared: str) -> tuple[bytes | None, str | None]:
    """The full name of the branch, None where HEAD is detached, and the commit, None where the branch has none yet."""
    try:
        content = b"ref: " + os.readlink(os.fsencode(f"{git}/HEAD"))  # as git made it long ago
    except OSError:
        content = files.content(f"{git}/HEAD").rstrip()
    if not content.startswith(b"ref:"):
        return None, _checked(content)
    branch = content[4:].strip()
    return branch, _resolved(git, shared, branch)


def _checked(commit: bytes) -> str:
    if not _COMMIT.fullmatch(commit):
        raise UnreadableError
    return commit.decode()


def _resolved(git: str, shared: str, ref: bytes) -> str | None:
    for _ in range(DEEPEST_REF):
        if ref == _REFTABLE or len(ref) > LONGEST_REF or not _REF.fullmatch(ref):
            raise UnreadableError
        own = ref.startswith((b"refs/bisect/", b"refs/worktree/", b"refs/rewritten/"))
        content = files.kept(os.path.join(git if own else shared, os.fsdecode(ref)))
        if content is None:
            return _packed(shared, ref)
        if not content.startswith(b"ref:"):
            return _checked(content.rstrip())
        ref = content[4:].strip()
    raise UnreadableError


def _packed(shared: str, ref: bytes) -> str | None:
    """The commit of a ref among the packed ones, None where it is not there: a line has a commit, a space, a name."""
    packed = files.kept(f"{shared}/packed-refs", LARGEST_PACKED_REFS) or b""
    end = packed.find(b" %b\n" % ref)
    if end < 0:
        return None
    return _checked(packed[packed.rfind(b"\n", 0, end) + 1 : end])
