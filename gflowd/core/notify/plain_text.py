"""Text from jobs, made safe for a line of mail: no line ends, no control characters, nothing that turns text around."""

from __future__ import annotations

import re

_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufff9-\ufffb]"
)
_ESCAPES = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])"
)
LONGEST_LINE = 400  # characters


def line(text: str, longest: int = LONGEST_LINE) -> str:
    r"""`text` on one line, of at most `longest` characters; what cannot be seen is written as `\x0a`."""
    shown = _UNSEEN.sub(_written, text)
    return shown if len(shown) <= longest else f"{shown[: longest - 3]}..."


def _written(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def last_lines(data: bytes, most: int, *, whole: bool) -> list[str]:
    """The last `most` lines of a job's output as a person would have read them on a terminal: without colours, and of
    a progress bar only what it said last. `whole`: `data` is not only the end of it.
    """
    lines = _ESCAPES.sub(b"", data).split(b"\n")
    if not whole and len(lines) > 1:
        lines = lines[1:]  # cut off anywhere
    found: list[str] = []
    for each in reversed(lines):
        text = each.rstrip(b"\r").rpartition(b"\r")[2].decode(errors="replace").replace("\t", "    ").rstrip()
        if text or found:
            found.append(line(text))
        if len(found) == most:
            break
    return found[::-1]


def last_line(data: bytes) -> str:
    """The last line that says anything, for a message."""
    return next(iter(last_lines(data, 1, whole=True)), "")[:200]
