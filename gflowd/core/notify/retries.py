"""When a delivery that failed is tried again, and what an answer means. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FIRST = 10.0  # seconds after the first failure
LONGEST = 3600.0
FACTOR = 2.0
JITTER = 0.25  # of a delay, either way
TRY_AGAIN = (408, 425, 429)  # of HTTP's 4xx
EX_TEMPFAIL = 75
PERMANENT_EXITS = (64, 65, 67, 68, 77)  # sysexits.h: usage, data, no such user, no such host, not permitted


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a delivery went. `wait`: the least seconds before the next, if the receiver said so."""

    kind: Literal["delivered", "again", "refused"]
    why: str = ""
    wait: float = 0.0


DELIVERED = Outcome("delivered")


def delay(failures: int, chance: float, asked: float = 0.0) -> float:
    """Seconds until a receiver is tried again after so many failures in a row; `chance` in [0, 1) spreads them, `asked`
    is what the receiver asked for.
    """
    plain = min(LONGEST, FIRST * FACTOR ** min(failures - 1, 30))
    return max(plain * (1 + JITTER * (2 * chance - 1)), min(asked, LONGEST))


def due(due_at: float, now: float) -> float:
    """`due_at` by a clock that may have been set back since it was written."""
    return min(due_at, now + LONGEST * (1 + JITTER))


def of_http(status: int, location: str, retry_after: str) -> Outcome:
    """What an answer to a webhook means. A redirect is not followed: it would give the payload and its signature to
    whoever it names.
    """
    if 200 <= status < 300:
        return DELIVERED
    if 300 <= status < 400:
        return Outcome("refused", f"HTTP {status}: it redirects{f' to {location}' if location else ''}; name that URL")
    if 400 <= status < 500 and status not in TRY_AGAIN:
        return Outcome("refused", f"HTTP {status}")
    return Outcome(
        "again", f"HTTP {status}", float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
    )


def of_smtp(code: int, said: str) -> Outcome:
    """What a mail server's answer means."""
    return Outcome("refused" if 500 <= code < 600 else "again", f"SMTP {code} {said}".strip())


def of_exit(status: int, said: str, *, hook: bool = False) -> Outcome:
    """What the exit status of sendmail means, or of a command hook, which says by 75 alone that it wants to be tried
    again; negative: the signal that ended it.
    """
    if status == 0:
        return DELIVERED
    why = f"exit status {status}" if status > 0 else f"ended by signal {-status}"
    permanent = status != EX_TEMPFAIL if hook else status in PERMANENT_EXITS
    return Outcome("refused" if permanent else "again", f"{why}: {said}" if said else why)
