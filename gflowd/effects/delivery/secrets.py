"""Reads a secret from where gflow.toml says it is. It is never logged, and never a word of a command line."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from gflowd.core.errors import Refused

if TYPE_CHECKING:
    from gflowd.core.notify.targets import Secret

LONGEST = 4096  # bytes


def read(secret: Secret) -> str | None:
    """The secret, None if there is to be none. Raises `Refused` if it cannot be had."""
    if secret.text is not None:
        return secret.text
    if secret.variable is not None:
        found = os.environ.get(secret.variable)
        if not found:
            raise Refused(f"the variable {secret.variable} is not set in gflowd's environment")
        return found
    return None if secret.file is None else _of_file(secret.file)


def _of_file(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(fd)
            data = os.read(fd, LONGEST)
        finally:
            os.close(fd)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        raise Refused(f"{path} is not a file")
    if found.st_mode & 0o077:
        raise Refused(f"{path} is open to others: chmod 600 {path}")
    try:
        line = data.decode().split("\n", 1)[0].strip()
    except UnicodeDecodeError:
        line = ""
    if not line or not line.isprintable():
        raise Refused(f"{path} has no secret in its first line")
    return line
