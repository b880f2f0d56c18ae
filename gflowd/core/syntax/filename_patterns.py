"""Names of output files with the job in them: `%j` id, `%A` array id, `%a` element, `%x` name, `%u` user, `%%`."""

from __future__ import annotations

import re

from gflowd.core.errors import Refused

_CODE = r"(?s)%(.?)"
_KNOWN = "jAaxu%"


def check(pattern: str) -> None:
    """Raises `Refused` for an unknown code, or for a pattern that does not name a file."""
    for code in re.findall(_CODE, pattern):
        if code == "" or code not in _KNOWN:
            raise Refused(f"{pattern!r}: %{code} is not a pattern (they are %j %A %a %x %u and %% for a percent sign)")
    if not pattern or pattern.endswith("/"):
        raise Refused(f"{pattern!r} does not name a file")


def is_of_one_job(pattern: str, *, elements: bool) -> bool:
    """Whether no two jobs have the same file by `pattern`; with `elements` no two elements of one array."""
    codes = re.findall(_CODE, pattern)
    return "j" in codes or (elements and "a" in codes)


def literal(text: str) -> str:
    """A pattern that expands to `text`."""
    return text.replace("%", "%%")


def expand(pattern: str, *, job_id: int, name: str, user: str, array_id: int | None = None, index: int = 0) -> str:
    """The file name that a checked `pattern` means for a job; a slash in the job's name becomes an underscore.

    `array_id` is the job's own id if it is in no array.
    """
    values = {
        "j": str(job_id),
        "A": str(job_id if array_id is None else array_id),
        "a": str(index),
        "x": name.replace("/", "_"),
        "u": user,
        "%": "%",
    }
    return re.sub(_CODE, lambda match: values.get(match[1], match[0]), pattern)
