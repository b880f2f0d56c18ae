"""The account of a job's submitter: by the number that the kernel gave, and the name that it had then."""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
from dataclasses import dataclass

from gflowd.core.errors import Refused, TryAgain

LONGEST = 1 << 20  # bytes of an entry
# What getpwnam(3) says where there is no such user; anything else is a data base that does not answer.
ABSENT = (0, errno.ENOENT, errno.ESRCH, errno.EBADF, errno.EPERM)


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine."""

    uid: int
    gid: int
    name: str


def of_submitter(uid: int | None, name: str) -> Account:
    """The account of user `uid`, who was called `name` at the submission. Raises `Refused` with the reason where there
    is none, or it is somebody else's by now; `TryAgain` where the user data base cannot be asked.
    """
    if uid is None:
        raise Refused("it is not known which user of this machine submitted it")
    try:
        found = pwd.getpwuid(uid)
    except KeyError:
        check_absent(uid)
        raise Refused(f"user {uid}, {name}, is no longer a user of this machine") from None
    if found.pw_name != name:
        raise Refused(f"user {uid} was {name} and is {found.pw_name} now")
    return Account(uid, found.pw_gid, name)


def check_absent(uid: int) -> None:
    """Raises `TryAgain` where not the user is missing, but the user database cannot be asked."""
    if (why := _trouble(uid)) not in ABSENT:
        raise TryAgain(f"the user database cannot be asked for user {uid}: {os.strerror(why)}")


def _trouble(uid: int) -> int:
    """What getpwuid_r(3) answers: 0 for a user that is not there, which Python cannot tell from a failure."""
    size = 1024
    entry, result, ask = ctypes.create_string_buffer(256), ctypes.c_void_p(), ctypes.CDLL(None).getpwuid_r
    while True:
        buffer = ctypes.create_string_buffer(size)
        answer: int = ask(ctypes.c_uint(uid), entry, buffer, ctypes.c_size_t(size), ctypes.byref(result))
        if answer != errno.ERANGE or size >= LONGEST:
            return answer
        size *= 4
