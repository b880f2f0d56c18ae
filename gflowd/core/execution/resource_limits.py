"""The soft limits of resources that a job inherits from its submitter: as a spec stores them, and in job.sh. Pure.

`c0 n1024 s8192`: letter and value as ulimit(1) has them; what is not named is unlimited. (POSIX knows only `f`; the
others are those that dash and bash agree on, but for the number of processes, which is `p` in dash.)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LETTERS = "cdflmnstuv"
UNLIMITED = "unlimited"
_LIMIT = b"""\
  gflow_limit() { ulimit -S "-$1" "$2" || ulimit -S "-$1" "$(ulimit -H "-$1")"; }
"""
_PROCESSES = b"  if ulimit -u; then gflow_limit u %(value)b; else gflow_limit p %(value)b; fi >/dev/null\n"
_ONE = re.compile(rf"([{LETTERS}])([0-9]{{1,18}})")


def parse(text: str) -> tuple[tuple[str, str], ...]:
    """Each letter with its value, in order. Skips everything else."""
    named = {match[1]: match[2] for word in text.split() if (match := _ONE.fullmatch(word))}
    return tuple((letter, named.get(letter, UNLIMITED)) for letter in LETTERS)


def script_lines(limits: Iterable[tuple[str, str]]) -> bytes:
    """The lines of job.sh that set them, each at most to the hard limit. Those of processes and files last, since what
    sets them needs both.
    """
    in_order = sorted(limits, key=lambda limit: limit[0] in "nu")
    lines = [_LIMIT] if in_order else []
    for letter, value in in_order:
        words = {b"letter": letter.encode(), b"value": value.encode()}
        lines.append((_PROCESSES if letter == "u" else b"  gflow_limit %(letter)b %(value)b\n") % words)
    return b"".join(lines)
