"""Durations as users write them: `90s`, `1h30m`, and Slurm's `MM`, `MM:SS`, `HH:MM:SS`, `D-HH[:MM[:SS]]`."""

import re

from gflowd.core.errors import Refused

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
LONGEST = 100 * 365 * 86400  # a hundred years: a larger number is a mistake, and timers overflow
LONGEST_TEXT = 40  # characters: no sensible value is longer, and int() raises ValueError past 4300 digits
FORMS = "such as 90s, 30m, 2h, 1h30m, 1d, MM, MM:SS, HH:MM:SS, D-HH or D-HH:MM:SS"

# Compiled at their use, here and in other modules that gflowctl loads: most are not needed at its start.
_WITH_UNITS = r"(?:\d+(?:\.\d+)?[smhdw])+"
_PART = r"(\d+(?:\.\d+)?)([smhdw])"
_SLURM = r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?"


def parse(text: str) -> float:
    """The seconds that `text` means; a bare number is minutes, as in sbatch(1).

    Raises `Refused` for anything else, and for more than a hundred years.
    """
    word = text.strip().lower()
    if not word.isascii() or len(word) > LONGEST_TEXT:
        raise Refused(f"{text[:LONGEST_TEXT]!r} is not a duration ({FORMS})")
    if re.fullmatch(_WITH_UNITS, word):
        seconds = sum(float(number) * UNITS[unit] for number, unit in re.findall(_PART, word))
    elif match := re.fullmatch(_SLURM, word):
        seconds = _slurm_seconds(*match.groups())
    else:
        raise Refused(f"{text!r} is not a duration ({FORMS})")
    if seconds > LONGEST:
        raise Refused(f"{text!r} is longer than a hundred years")
    return seconds


def _slurm_seconds(days: str | None, first: str, second: str | None, third: str | None) -> float:
    if days is not None:
        hours, minutes, seconds = int(first), int(second or 0), int(third or 0)
        return float(int(days) * 86400 + hours * 3600 + minutes * 60 + seconds)
    if third is not None:
        return float(int(first) * 3600 + int(second or 0) * 60 + int(third))
    return float(int(first) * 60 + int(second or 0))


def clock(seconds: float) -> str:
    """`seconds` as Slurm shows an elapsed time: `0:07`, `12:30`, `3:00:00`, `2-01:00:00`. Fractions are cut."""
    whole = max(0, int(seconds))
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}-{hour:02}:{minute:02}:{second:02}"
    if hour:
        return f"{hour}:{minute:02}:{second:02}"
    return f"{minute}:{second:02}"
