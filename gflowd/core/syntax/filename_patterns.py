"""Names of output files with the job in them: `%j` id, `%A` array id, `%a` element, `%b` its last digit, `%x` name,
`%u` user, `%%`. `%4j` is the number with leading zeros.
"""

from __future__ import annotations

import re

from gflowd.core.errors import Refused

_CODE = r"(?s)%((?:[0-9]{1,2}(?=[jAab]))?)(.?)"
_KNOWN = "jAabxu%"


def check(pattern: str) -> None:
    """Raises `Refused` for an unknown code, or for a pattern that does not name a file."""
    for _, code in re.findall(_CODE, pattern):
        if code == "" or code not in _KNOWN:
            raise Refused(
                f"{pattern!r}: %{code} is not a pattern (they are %j %A %a %b %x %u and %% for a percent sign)"
            )
    if not pattern or pattern.endswith("/"):
        raise Refused(f"{pattern!r} does not name a file")


def is_of_one_job(pattern: str, *, elements: bool) -> bool:
    """Whether no two jobs have the same file by `pattern`; with `elements` no two elements of one array."""
    codes = [code for _, code in re.findall(_CODE, pattern)]
    return "j" in codes or (elements and "a" in codes)


def known(pattern: str) -> tuple[str, str]:
    """The path up to the first part with the job in it, and the pattern from there on, which may be empty. Of a checked
    pattern that begins with a slash.
    """
    parts = pattern.split("/")
    number = next((n for n, part in enumerate(parts) if any(code != "%" for _, code in re.findall(_CODE, part))), None)
    head = "/".join(parts[:number]).replace("%%", "%") or "/"
    return head, "" if number is None else "/".join(parts[number:])


def literal(text: str) -> str:
    """A pattern that expands to `text`."""
    return text.replace("%", "%%")


def expand(pattern: str, *, job_id: int, name: str, user: str, array_id: int | None = None, index: int = 0) -> str:
    """The file name that a checked `pattern` means for a job. The job's name leads to no other directory: a slash in it
    becomes an underscore, and so do the dots of `.` and `..`.

    `array_id` is the job's own id if it is in no array.
    """
    values = {
        "j": str(job_id),
        "A": str(job_id if array_id is None else array_id),
        "a": str(index),
        "b": str(index % 10),
        "x": name.replace("/", "_") if name.strip(".") else "_" * len(name),
        "u": user,
        "%": "%",
    }
    return re.sub(_CODE, lambda match: values.get(match[2], match[0]).zfill(int(match[1] or 0)), pattern)
