"""Moments as users write them: `18:30`, `2025-01-31 18:30`, `tomorrow 9:00`, `now+2h`, RFC 3339 with a zone.

The present and the time zone are arguments; nothing here reads a clock.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from gflowd.core.errors import Refused, meant
from gflowd.core.syntax import durations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import tzinfo

FORMS = "such as 18:30, tomorrow 9:00, 2025-01-31 18:30, 2025-01-31T18:30:00Z or now+2h"

_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
_DATED = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[ T](.+))?", re.IGNORECASE)
_RELATIVE = re.compile(r"now\s*(?:([+-])\s*(.+))?", re.IGNORECASE)
_AGO = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?[smhdw])+(?: ago)?")
_DAYS = {"today": 0, "tomorrow": 1, "yesterday": -1}
_ZONED = re.compile(r".*[0-9](?:Z|[+-][0-9]{2}:?[0-9]{2})", re.IGNORECASE)
LONGEST_ZONE = 100  # characters; for an unknown name, zoneinfo imports a package for each of its parts


def zone(name: str | None) -> tzinfo | None:
    """The time zone called `name` in the tz database; None, the machine's local zone, for None.

    Raises `Refused` for an unknown name.
    """
    return None if name is None else named(name)


def named(name: str) -> ZoneInfo:
    """As `zone`, of a name."""
    try:
        if len(name) <= LONGEST_ZONE:
            return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError; a directory's name an OSError
        pass
    name = name[:LONGEST_ZONE]
    raise Refused(f"{name!r} is not a time zone{_like(name) or ' (such as Europe/Vienna)'}")


def _like(name: str) -> str:
    known = sorted(available_timezones())
    same = next((each for each in known if each.lower() == name.lower()), name)
    return meant(same, known)


def parse(text: str, now: float, tz: tzinfo | None) -> float:
    """The instant that `text` means at `now`, in seconds since the epoch; `tz` None is the machine's local zone.

    A time of day alone means its next occurrence. Another time that occurs twice, because the clock is set back, means
    the first; one that is skipped, because it is set forward, means as much later. Raises `Refused` for anything else.
    """
    word = " ".join(text.split())
    try:
        if word[:3].lower() == "now":
            found = _relative(word, now)
        else:
            found = _dated(word, datetime.fromtimestamp(now, tz), now)
    except (ValueError, OverflowError, OSError):
        found = None
    if found is None:
        raise Refused(f"{text!r} is not an instant ({FORMS})")
    return found


def parse_past(text: str, now: float, tz: tzinfo | None) -> float:
    """As `parse`, of an instant that is over: `7d` means that long ago, a time of day alone its latest occurrence."""
    word = " ".join(text.lower().split())
    if _AGO.fullmatch(word):
        return now - durations.parse(word.removesuffix(" ago"))
    found = parse(text, now, tz)
    if _TIME.fullmatch(word) is None:
        return found
    today = datetime.fromtimestamp(now, tz)
    days = (today.replace(fold=1), today.replace(fold=0), today.replace(fold=0) - timedelta(days=1))
    return next(at for at in (_at(day, word) for day in days) if at is not None and at <= now)


def _relative(word: str, now: float) -> float | None:
    match = _RELATIVE.fullmatch(word)
    if match is None:
        return None
    if match[1] is None:
        return now
    try:
        away = durations.parse(match[2])
    except Refused:
        return None
    return now + away if match[1] == "+" else now - away


def _dated(word: str, today: datetime, now: float) -> float | None:
    """`today` is the present in the zone (naive: local); its date is the base for a time of day."""
    if match := _DATED.fullmatch(word):
        if _ZONED.fullmatch(match[4] or ""):
            return datetime.fromisoformat(word.upper()).timestamp()
        day = today.replace(year=int(match[1]), month=int(match[2]), day=int(match[3]), fold=0)
        return _at(day, match[4] or "0:00")
    name, _, clock = word.lower().partition(" ")
    if name in _DAYS:
        return _at(today.replace(fold=0) + timedelta(days=_DAYS[name]), clock or "0:00")
    days = (today.replace(fold=0), today.replace(fold=1), today.replace(fold=0) + timedelta(days=1))
    instants = (_at(day, word) for day in days)
    return next((found for found in instants if found is None or found > now), None)


def _at(day: datetime, clock: str) -> float | None:
    match = _TIME.fullmatch(clock)
    if match is None:
        return None
    return day.replace(hour=int(match[1]), minute=int(match[2]), second=int(match[3] or 0), microsecond=0).timestamp()
