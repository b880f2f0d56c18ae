"""Durations and instants as Slurm's programs print and read them. `core.syntax.durations.clock` is squeue's form."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from gflowd.core.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import tzinfo

_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_NOW = re.compile(r"now(?:\s*([+-])\s*([0-9]{1,12})\s*([a-z]*))?")
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?\s*(am|pm)?")
_NAMED = {"midnight": "00:00", "noon": "12:00", "elevenses": "11:00", "fika": "15:00", "teatime": "16:00"}
_DAYS = {"today": 0, "tomorrow": 1, "yesterday": -1}
_DATES = (
    re.compile(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{1,2})-(?P<day>[0-9]{1,2})(?:[t-](?P<clock>.+))?"),
    re.compile(r"(?P<month>[0-9]{1,2})[/.](?P<day>[0-9]{1,2})(?:[/.](?P<year>[0-9]{2}))?(?:-(?P<clock>.+))?"),
    re.compile(r"(?P<month>[0-9]{2})(?P<day>[0-9]{2})(?P<year>[0-9]{2})?(?:-(?P<clock>.+))?"),
)


def whole(seconds: float) -> str:
    """`00:01:05`, `2-01:00:00`: as sacct(1) shows a duration. Fractions are cut."""
    minutes, second = divmod(max(0, int(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days}-{hour:02}:{minute:02}:{second:02}" if days else f"{hour:02}:{minute:02}:{second:02}"


def cpu(seconds: float) -> str:
    """`01:05.250`, from an hour on as `whole`: as sacct(1) shows CPU time."""
    milli = round(max(0.0, seconds) * 1000)
    minutes, rest = divmod(milli, 60_000)
    if minutes >= 60 or rest % 1000 == 0:
        return whole(milli / 1000)
    return f"{minutes:02}:{rest // 1000:02}.{rest % 1000:03}"


def past_instant(text: str, now: float, zone: tzinfo | None = None) -> float:
    """What a time given to sacct(1) means, in seconds since the epoch; a time of day or a date without a year is its
    latest occurrence. Raises `Refused`.
    """
    word = text.strip().lower()
    try:
        found = _relative(word, now) if word.startswith("now") else _absolute(word, now, zone)
    except (ValueError, OverflowError, OSError):
        found = None
    if found is None:
        raise Refused(f"Invalid time specification (pos=0): {text}")
    return found


def _relative(word: str, now: float) -> float | None:
    match = _NOW.fullmatch(word)
    if match is None:
        return None
    if match[1] is None:
        return now
    unit = _UNITS.get((match[3] or "second").removesuffix("s"))
    if unit is None:
        return None
    away = int(match[2]) * unit
    return now + away if match[1] == "+" else now - away


def _absolute(word: str, now: float, zone: tzinfo | None) -> float | None:
    today = datetime.fromtimestamp(now, zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if word in _DAYS:
        return (today + timedelta(days=_DAYS[word])).timestamp()
    clock = _NAMED.get(word, word)
    if _CLOCK.fullmatch(clock):
        at = _at(today, clock)
        return at if word in _NAMED or at is None or at <= now else _at(today - timedelta(days=1), clock)
    match = next((found for form in _DATES if (found := form.fullmatch(word))), None)
    if match is None:
        return None
    year = match["year"]
    given = today.year if year is None else int(year) + (2000 if len(year) == 2 else 0)
    day = today.replace(year=given, month=int(match["month"]), day=int(match["day"]))
    at = _at(day, match["clock"] or "00:00")
    if at is not None and year is None and at > now:
        return _at(day.replace(year=given - 1), match["clock"] or "00:00")
    return at


def _at(day: datetime, clock: str) -> float | None:
    match = _CLOCK.fullmatch(clock)
    if match is None:
        return None
    hour = int(match[1])
    if match[4] is not None:
        hour = hour % 12 + (12 if match[4] == "pm" else 0)
    return day.replace(hour=hour, minute=int(match[2]), second=int(match[3] or 0)).timestamp()
