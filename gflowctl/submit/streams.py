"""Scripts that come through standard input, another descriptor or a named pipe. They can be read only once."""

from __future__ import annotations

import os
import select
import stat

from gflowd.core.errors import BadUsage, Refused
from gflowd.core.job.model import OPEN_FILES, STDIN
from gflowd.core.request.validation import LARGEST_SCRIPT, why_no_script

NOTHING = (
    "nothing to run: give a command, a script, --wrap TEXT or a script on standard input (see gflowctl submit --help)"
)
PATIENCE = 10.0  # seconds: a bare submission from a service may have a pipe on which nothing ever comes


def unasked() -> bytes:
    """The script on standard input of a submission that names nothing to run. Raises `BadUsage` where there is none,
    `Refused` for what is no script.
    """
    kind = stat.S_IFMT(os.fstat(0).st_mode)
    if kind not in (stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK):
        raise BadUsage(NOTHING)
    if not select.select([0], [], [], PATIENCE)[0]:
        raise BadUsage(f"nothing came on standard input within {PATIENCE:g} s; submit - waits for it")
    content = _content(0, "standard input")
    if not content:
        raise BadUsage(NOTHING)
    return content


def script(path: str) -> bytes:
    """The script that comes through `path`, however long that takes. Raises `Refused` for what is no script."""
    number = _number(path)
    name = "standard input" if number == 0 else path
    try:
        fd = os.open(path, os.O_RDONLY) if number is None else os.dup(number)
    except OSError as error:
        raise Refused(f"{path}: {'there is no such file' if number is not None else error.strerror}") from None
    try:
        content = _content(fd, name)
    finally:
        os.close(fd)
    if not content:
        raise Refused(f"{name} is empty")
    return content


def _number(path: str) -> int | None:
    if path == STDIN:
        return 0
    place = next((place for place in OPEN_FILES if path.startswith(place)), path)
    number = path.removeprefix(place)
    return int(number) if number.isdecimal() and number.isascii() and len(number) < 10 else None


def _content(fd: int, name: str) -> bytes:
    """All that comes, as far as it begins like a script; what does not is left to others."""
    content = _read(fd, name, 2)
    if content and content != b"#!":
        raise Refused(f"{name} is not a script: {why_no_script(content + _read(fd, name, 1))}")
    content += _read(fd, name, LARGEST_SCRIPT)
    if len(content) > LARGEST_SCRIPT:
        raise Refused(f"{name} is larger than {LARGEST_SCRIPT >> 20} MiB, too large for a script")
    return content


def _read(fd: int, name: str, size: int) -> bytes:
    """`size` bytes, or as many as there are before the end."""
    parts: list[bytes] = []
    while size:
        try:
            part = os.read(fd, min(size, 1 << 20))
        except BlockingIOError:  # whoever shares it has made it so
            select.select([fd], [], [])
            continue
        except OSError as error:
            raise Refused(f"{name}: {error.strerror}") from None
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
