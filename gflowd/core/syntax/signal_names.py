"""The names of signals, as signal(7) has them for x86 and arm: numbers to names and back. A table of our own, since
importing `signal` would cost gflowctl its start.
"""

from __future__ import annotations

_NAMES = (
    "HUP",
    "INT",
    "QUIT",
    "ILL",
    "TRAP",
    "ABRT",
    "BUS",
    "FPE",
    "KILL",
    "USR1",
    "SEGV",
    "USR2",
    "PIPE",
    "ALRM",
    "TERM",
    "STKFLT",
    "CHLD",
    "CONT",
    "STOP",
    "TSTP",
    "TTIN",
    "TTOU",
    "URG",
    "XCPU",
    "XFSZ",
    "VTALRM",
    "PROF",
    "WINCH",
    "IO",
    "PWR",
    "SYS",
)  # fmt: skip -- from 1 on
RTMIN, RTMAX = 34, 64  # 32 and 33 are the C library's own
NUMBERS = {
    **{name: number for number, name in enumerate(_NAMES, 1)},
    "RTMIN": RTMIN,
    "RTMAX": RTMAX,
    "IOT": 6,
    "CLD": 17,
    "POLL": 29,  # the last three are second names
}
_FROM = (("RTMIN+", RTMIN, 1), ("RTMAX-", RTMAX, -1))


def name(number: int) -> str:
    """`SIGKILL`; a real-time signal, which has no name of its own, by its number, as `SIG40`."""
    return f"SIG{_NAMES[number - 1] if 0 < number <= len(_NAMES) else number}"


def number(text: str) -> int:
    """The number of `INT`, `SIGINT`, `2`, `SIG40`, `RTMIN+6` or `RTMAX-24`. Raises ValueError."""
    word = text.upper().removeprefix("SIG")
    found = NUMBERS.get(word) or _digits(word)
    for start, base, way in _FROM:
        if word.startswith(start):
            found = base + way * _digits(word.removeprefix(start))
    if not (0 < found <= len(_NAMES) or RTMIN <= found <= RTMAX):
        raise ValueError(f"{text!r} is not a signal")
    return found


def _digits(word: str) -> int:
    return int(word) if word.isascii() and word.isdigit() and len(word) <= 2 else -1
