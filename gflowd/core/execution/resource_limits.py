"""The soft limits of resources that a job inherits from its submitter, as a spec stores them. Pure.

`c0 n1024 s8192`: letter and value as ulimit(1) has them; what is not named is unlimited. (POSIX knows only `f`; the
others are those that dash and bash agree on, but for the number of processes, which is `p` in dash.)
"""

from __future__ import annotations

import re

LETTERS = "cdflmnstuv"
UNLIMITED = "unlimited"
_ONE = re.compile(rf"([{LETTERS}])([0-9]{{1,18}})")


def parse(text: str) -> tuple[tuple[str, str], ...]:
    """Each letter with its value, in order. Skips everything else."""
    named = {match[1]: match[2] for word in text.split() if (match := _ONE.fullmatch(word))}
    return tuple((letter, named.get(letter, UNLIMITED)) for letter in LETTERS)
