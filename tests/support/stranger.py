"""Does something as another user: in a process of its own, for which we must be root. Knows nothing of gflow."""

from __future__ import annotations

import os
import pickle
import tempfile
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UIDS = 60001, 60002  # that no account has
NO_ROOT = "only root can become another user"


def as_user(uid: int, call: Callable[[], Any]) -> Any:
    """What `call` returns there, or raises."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            try:
                told = pickle.dumps((call(), None))
            except Exception as error:  # it is raised where it was asked for
                told = pickle.dumps((None, error))
            with os.fdopen(theirs, "wb") as pipe:
                pipe.write(told)
            status = 0
        finally:
            os._exit(status)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    found, error = pickle.loads(told)
    if error is not None:
        raise error
    return found


@contextmanager
def open_directory() -> Iterator[Path]:
    """A directory that all may enter, and its parents too."""
    place = Path(tempfile.mkdtemp(prefix="gf-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"))
    place.chmod(0o711)
    yield place
    rmtree(place)
