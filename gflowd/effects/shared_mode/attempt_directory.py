"""The directory of an attempt, in two parts: root's, with `job.sh`, marks and the attempt's bell, and in it `u`, the
user's.

Root makes, renames and gives away names in its own part only, and by descriptors of what it has just made there. In the
user's part it opens plain files of the user's to read, and nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from gflowd import paths
from gflowd.core.execution import job_script
from gflowd.effects import files, proc
from gflowd.effects.attempt import jobdir
from gflowd.effects.kernel import processes
from gflowd.effects.shared_mode import user_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowd.core.execution.observations import Key
    from gflowd.effects.shared_mode.job_groups import JobGroups
    from gflowd.paths import State

BELL, SCRIPT = "bell", "job.sh"
_INSIDE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def bell(state: State, key: Key) -> str:
    """What the processes of an attempt ring: theirs alone to fill."""
    return os.path.join(state.attempt(*key), BELL)


def listen(state: State, key: Key) -> int | None:
    """A descriptor of an attempt's bell, readable when it rings; None where there is none."""
    try:
        return os.open(bell(state, key), os.O_RDWR | _INSIDE)  # both ways, so that it never reads as ended
    except OSError:
        return None


def hear(bell: int) -> None:
    """Makes a bell that has rung quiet. What is rung is not asked: it says no more than to look."""
    with contextlib.suppress(OSError):
        os.read(bell, 1 << 16)


def prepare(state: State, key: Key, script: bytes, owner: tuple[int, int]) -> None:
    """Makes both parts of a job's directory and of the attempt's, its bell and its `job.sh`, or finds them; `owner` is
    a uid and a gid. Raises OSError.
    """
    directory = state.job(key[0])
    with _ours(directory) as fd:
        _make_own_part(fd, directory, owner)
    directory = state.attempt(*key)
    with _ours(directory) as fd:
        _make_own_part(fd, directory, owner, for_job=True)
        _hang(fd, bell(state, key), owner)
        _write_script(fd, script, owner)


def make_ours(state: State, key: Key) -> str:
    """Root's part of an attempt, made if it is missing. Raises OSError."""
    for directory in (state.job(key[0]), state.attempt(*key)):
        with _ours(directory):
            pass
    return state.attempt(*key)


def bar(state: State, key: Key, why: str, uid: int, groups: JobGroups) -> bool:
    """Bars an attempt from ever beginning; returns False if it has begun already. Raises OSError.

    A copy of `job.sh` that comes later sees the mark; one that saw none a moment ago is ended with its group.
    """
    found = beginning(state, key, uid, groups)
    if found is not None and found.identity is not None:
        return False
    made = files.create(os.path.join(make_ours(state, key), job_script.BARRED), f"{why}\n".encode(errors="replace"))
    groups.kill(key)
    return made


def beginning(state: State, key: Key, uid: int, groups: JobGroups) -> jobdir.Beginning | None:
    """Whether an attempt has begun, and its `job.sh`; or that it was barred. What users write counts only for a process
    of the attempt, or one that is gone.
    """
    if (barred := _barred(state, key)) is not None:
        return barred
    begun = jobdir.beginning(state.own_attempt(*key), user_files.reader(uid))
    if begun is None or begun.identity is None:
        return None
    boot = proc.boot_id()
    if processes.lives(begun.identity, boot) and groups.key_of(begun.identity.pid) != key:
        return None
    if begun.identity.boot != boot and groups.is_populated(key):  # it would escape all its limits
        return None
    return begun


def _barred(state: State, key: Key) -> jobdir.Beginning | None:
    fd = files.open_to_read(os.path.join(state.attempt(*key), job_script.BARRED))
    if fd is None:
        return None
    try:
        why = os.read(fd, 4096).decode(errors="replace").partition("\n")[0]
        return jobdir.Beginning(os.fstat(fd).st_mtime, None, why or None)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _ours(directory: str) -> Iterator[int]:
    """A descriptor of a directory of root's part, which everybody may pass through, made if it is missing."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, paths.PASSABLE)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise OSError(errno.EPERM, "not root's alone to write", directory)
        os.fchmod(fd, paths.PASSABLE)
        yield fd
    finally:
        os.close(fd)


def _make_own_part(parent: int, directory: str, owner: tuple[int, int], *, for_job: bool = False) -> None:
    """`for_job`: with room for its last word, which is made while nobody else can enter."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(paths.OWN, 0o700, dir_fd=parent)
    path = os.path.join(directory, paths.OWN)
    fd = user_files.opened(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if for_job and os.fstat(fd).st_uid == os.geteuid():
            _give_reserve(fd, path, owner)
        _give(fd, 0o700, owner, path)
    finally:
        os.close(fd)


def _give_reserve(parent: int, path: str, owner: tuple[int, int]) -> None:
    fd = jobdir.reserve(".", parent)
    try:
        _give(fd, 0o600, owner, path)
    finally:
        os.close(fd)


def _hang(parent: int, path: str, owner: tuple[int, int]) -> None:
    """Its owner may read it, too, since a shell that may only write to a pipe waits there for who reads."""
    with contextlib.suppress(FileExistsError):
        os.mkfifo(BELL, 0o600, dir_fd=parent)
    fd = os.open(BELL, os.O_RDWR | _INSIDE, dir_fd=parent)
    try:
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            raise OSError(errno.EEXIST, "not a named pipe", path)
        _give(fd, 0o600, owner, path)
    finally:
        os.close(fd)


def _give(fd: int, mode: int, owner: tuple[int, int], path: str) -> None:
    """Gives what we have made to its owner. What is another user's was not made for this one."""
    if (holder := os.fstat(fd).st_uid) not in (os.geteuid(), owner[0]):
        raise OSError(errno.EPERM, f"belongs to user {holder}", path)
    if holder != owner[0] or os.geteuid() == owner[0]:
        os.fchmod(fd, mode)
        os.fchown(fd, *owner)


def _write_script(parent: int, script: bytes, owner: tuple[int, int]) -> None:
    fresh = f"{SCRIPT}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh, dir_fd=parent)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _INSIDE, 0o600, dir_fd=parent)
    try:
        paths.write_all(fd, script)
        _give(fd, 0o500, owner, fresh)
    finally:
        os.close(fd)
    os.rename(fresh, SCRIPT, src_dir_fd=parent, dst_dir_fd=parent)
