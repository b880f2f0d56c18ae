"""Files and directories that root makes for users in its own directories: environments, scripts, places for relays.

Each user's are in directories of root's, `users/UID/env` and the like, where nobody else makes, renames or removes
names. A file belongs to its user by its descriptor, before it has its name.
"""

from __future__ import annotations

import os
import time

from gflowd import paths
from gflowd.core.errors import Refused, SystemFailed
from gflowd.effects.shared_mode import user_files

MODES = {"env": 0o400, "scripts": 0o500}
OWN = 0o700
RECOUNT = 60.0  # seconds until sizes are counted, and files marked as used, again
REMEMBERED = 10_000  # files
SOONEST = 5.0  # seconds until sizes are counted again for one who has too much
BLOCK = 4096  # bytes that a file takes at least
FRESH = ".new."  # in the name of a file that is being written
_Kept = tuple[int, str, str]  # whose, the directory, the name


class Keeper:
    """Keeps what users send, by its content's name. `most`: bytes that one user may have there; `largest`: bytes of a
    script. Knows how many these are, and counts them anew now and then, since gflowd removes what is not used any more.
    Mutable.
    """

    def __init__(self, state: paths.State, most: int, largest: int) -> None:
        self.most = most
        self.largest = largest
        self._state = state
        self._used: dict[_Kept, float] = {}  # until when a file need not be marked as used again
        self._sizes: dict[int, tuple[float, int]] = {}  # by user: until when it holds, bytes
        self._unsettled: set[str] = set()

    def keep(self, uid: int, place: str, content: bytes) -> None:
        """Keeps a file of a user's, unless it is kept already; durably once `settle` was called. Raises
        `SystemFailed`, `Refused`.
        """
        if place == "scripts" and len(content) > self.largest:
            raise Refused(f"the script is larger than {self.largest >> 10} KiB (max_script in [shared])")
        directory = self._state.kept(place, uid)
        kept = uid, place, paths.content_name(content)
        path = os.path.join(directory, kept[2])
        if self._is_used(kept):
            return
        try:
            if user_files.about(path).st_size == len(content):
                self._use(path, kept)
                return
        except OSError:
            pass  # not there, or not what it was
        try:
            paths.make_passable(directory)
            self._make_room(uid, len(content))
            write(path, content, uid)
        except OSError as error:
            raise SystemFailed(f"{path}: {error.strerror}") from error
        self._unsettled.add(directory)

    def has(self, uid: int, place: str, name: str) -> bool:
        """Whether a file of the user's is kept; it counts as used now."""
        kept = uid, place, name
        if self._is_used(kept):
            return True
        try:
            self._use(os.path.join(self._state.kept(place, uid), name), kept)
        except FileNotFoundError:
            return False
        except OSError:
            pass  # a file system that has become read-only
        return True

    def _is_used(self, kept: _Kept) -> bool:
        return time.monotonic() < self._used.get(kept, 0.0)

    def _use(self, path: str, kept: _Kept) -> None:
        """Gflowd removes what has not been used for long. Raises OSError."""
        user_files.touch(path)
        if len(self._used) >= REMEMBERED:
            self._used.clear()
        self._used[kept] = time.monotonic() + RECOUNT

    def settle(self) -> None:
        """Makes the names of what was kept durable. Raises `SystemFailed`."""
        while self._unsettled:
            directory = self._unsettled.pop()
            try:
                paths.sync_directory(directory)
            except OSError as error:
                raise SystemFailed(f"{directory}: {error.strerror}") from error

    def _make_room(self, uid: int, size: int) -> None:
        now, size = time.monotonic(), _taken(size)
        until, used = self._sizes.get(uid, (0.0, 0))
        if now >= until or (used + size > self.most and now >= until - RECOUNT + SOONEST):
            until, used = now + RECOUNT, sum(_size(self._state.kept(place, uid)) for place in MODES)
        if used + size > self.most:
            self._sizes[uid] = until, used
            raise Refused(f"your environments and scripts may not take more than {self.most >> 20} MiB here")
        self._sizes[uid] = until, used + size


def relays(state: paths.State, uid: int) -> None:
    """Makes the directory for a user's relays, of their own, if it is not there. Raises `SystemFailed`, `Refused`."""
    path = state.relays(uid)
    try:
        paths.make_passable(os.path.dirname(path))
        found = _found(path)
        if found is None:
            _make_own(path, uid)
        elif found != uid:
            raise Refused(f"{path} belongs to user {found}; root must move it away")
    except OSError as error:
        raise SystemFailed(f"{path}: {error.strerror}") from error


def _found(path: str) -> int | None:
    try:
        return user_files.about(path).st_uid
    except FileNotFoundError:
        return None


def _make_own(path: str, uid: int) -> None:
    fresh = f"{path}{FRESH}{os.getpid()}"
    try:
        os.mkdir(fresh, OWN)
    except FileExistsError:  # left by a killed process that had our pid
        pass
    fd = os.open(fresh, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(fd, OWN)
        os.fchown(fd, uid, -1)
    finally:
        os.close(fd)
    os.rename(fresh, path)


def opened(path: str) -> int:
    """A descriptor of a kept environment or script, to read what its user may have made of it. Raises OSError."""
    return user_files.opened(path, os.O_RDONLY | os.O_NONBLOCK)


def write(path: str, content: bytes, uid: int) -> None:
    """Makes `path`, in a directory of root's, an environment or a script of a user's; durable but for its name. Raises
    OSError.
    """
    mode = MODES[os.path.basename(os.path.dirname(path))]
    fresh = f"{path}{FRESH}{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(fresh, flags, 0o600)
    except FileExistsError:  # left by a killed process that had our pid
        os.unlink(fresh)
        fd = os.open(fresh, flags, 0o600)
    try:
        paths.write_all(fd, content)
        os.fchmod(fd, mode)
        os.fchown(fd, uid, -1)
        os.fsync(fd)
    except OSError:
        os.unlink(fresh)
        raise
    finally:
        os.close(fd)
    os.rename(fresh, path)


def _taken(size: int) -> int:
    """What a file takes: very many small ones would take all names that a file system has."""
    return -(-size // BLOCK) * BLOCK


def _size(directory: str) -> int:
    try:
        with os.scandir(directory) as found:
            return sum(_taken(_length(each.path)) for each in found)
    except FileNotFoundError:
        return 0


def _length(path: str) -> int:
    try:
        return user_files.about(path).st_size
    except OSError:  # gone by now, or its user has mounted something over it
        return 1
