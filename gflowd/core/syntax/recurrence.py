"""Rules by which something comes again: `daily 02:00`, `weekly mon,fri 18:30`, `every 6h`, and the five words of cron.

Times of day are those of a zone, which the caller gives; nothing here reads a clock. A time that a clock change skips
is the moment of the change, one that it repeats is the first; so each comes once.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta

from gflowd.core.errors import Refused
from gflowd.core.syntax import durations
from gflowd.core.syntax.wall_clock import first_instant, on_the_wall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import tzinfo

    Walls = Callable[[datetime], Iterator[datetime]]

FORMS = 'such as "daily 02:00", "weekly mon,fri 18:30", "every 6h" or the five words of cron, "0 2 * * 1-5"'
SHORTEST = 1.0  # seconds
LONGEST_TEXT = 100  # characters
JUST_BEFORE = 0.001  # seconds
PACKAGE = "cron words need the package cronsim: pip install 'gflow[cron]' (Debian: python3-cronsim)"

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_LEAST = 3  # letters of a day
_CRON_WORDS = 5
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")


def checked(text: str) -> str:
    """`text` as it is kept, if it is a rule that can be followed here. Raises `Refused`."""
    rule = " ".join(text.split())
    if _every(rule) is None:
        _walls(rule)
    return rule


def first(rule: str, at: float, zone: tzinfo | None) -> float | None:
    """The first time from the instant `at` on; of `every` that is `at` itself. Otherwise as `following`."""
    return at if _every(rule) is not None else following(rule, at, at - JUST_BEFORE, zone)


def following(rule: str, due: float, after: float, zone: tzinfo | None) -> float | None:
    """The first time later than `after`, in seconds since the epoch; None if there is none. `due`: one of its times,
    from which `every` counts. Raises `Refused` for what is no rule, or cannot be followed here.
    """
    every = _every(rule)
    if every is not None:
        found = due + every * max(1, int((after - due) // every) + 1)
        return found if found > after else found + every  # rounding
    walls = _walls(rule)
    try:
        instants = (first_instant(wall, zone) for wall in walls(on_the_wall(after, zone)))
        return next((at for at in instants if at > after), None)
    except (OverflowError, ValueError, OSError):  # the calendar ends
        return None


def _every(rule: str) -> float | None:
    """The seconds from one time to the next; None for another kind of rule. Raises `Refused`."""
    word, _, rest = rule.partition(" ")
    if word.lower() != "every":
        return None
    seconds = durations.parse(rest)
    if seconds < SHORTEST:
        raise Refused(f"{rule!r} is too often; once a second is the most")
    return seconds


def _walls(rule: str) -> Walls:
    """What gives the times on the wall from a day on, or from shortly after a time. Raises `Refused`."""
    word, _, rest = rule.partition(" ")
    match word.lower():
        case "daily":
            return _on_days(rule, "", rest)
        case "weekly":
            names, _, clock = rest.partition(" ")
            return _on_days(rule, names, clock)
    if len(rule.split()) == _CRON_WORDS and len(rule) <= LONGEST_TEXT:
        return _by_cron(rule)
    raise _wrong(rule)


def _on_days(rule: str, names: str, clock: str) -> Walls:
    match = _CLOCK.fullmatch(clock)
    words = names.lower().split(",") if names else []
    wanted = [_day(word) for word in words] or range(len(_DAYS))
    if match is None or None in wanted:
        raise _wrong(rule)
    try:
        at = time(int(match[1]), int(match[2]), int(match[3] or 0))
    except ValueError:
        raise _wrong(rule) from None

    def walls(after: datetime) -> Iterator[datetime]:
        day = after.date()
        while True:
            if day.weekday() in wanted:
                yield datetime.combine(day, at)
            day += timedelta(days=1)

    return walls


def _day(word: str) -> int | None:
    """The number of a weekday by its name, or no less than the first three letters of that."""
    found = (number for number, name in enumerate(_DAYS) if len(word) >= _LEAST and name.startswith(word))
    return next(found, None)


def _by_cron(rule: str) -> Walls:
    try:
        from cronsim import CronSim, CronSimError
    except ImportError:
        raise Refused(PACKAGE) from None
    try:
        CronSim(rule, on_the_wall(0.0, UTC))
    except CronSimError as error:
        raise Refused(f"{rule!r}: {str(error).lower()}") from None
    return lambda after: CronSim(rule, after)


def _wrong(rule: str) -> Refused:
    return Refused(f"{rule[:LONGEST_TEXT]!r} is no rule for runs that come again ({FORMS})")
