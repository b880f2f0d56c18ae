"""Whether and when an ended job is retried. Decides; moves no job."""

from __future__ import annotations

from gflowd.core.errors import Refused
from gflowd.core.job import reasons
from gflowd.core.job.model import CANCELLED, FINISHED, TIMEOUT, Ended
from gflowd.core.job.retry_policy import CAUSES, FAILURE, OOM, TIMED_OUT, ZOMBIE, Retry
from gflowd.core.syntax import durations

REJECTED = reasons.rejected("")

LONGEST_DELAY = 7 * 86400  # seconds: the factor raises the delay up to this
LARGEST_FACTOR = 100.0
LARGEST_CODE = 255
SIGNAL_BASE = 128  # a shell reports death by signal N as 128 + N (POSIX sh, 2.8.2)


def parse_on(text: str) -> tuple[str | int, ...]:
    """What `--retry-on` names: causes and exit codes, such as `failure,timeout,3`. Raises `Refused`."""
    return tuple(dict.fromkeys(_parse_cause(word.strip().lower()) for word in text.split(",")))


def _parse_cause(word: str) -> str | int:
    if word in CAUSES:
        return word
    if word.isascii() and word.isdigit() and len(word) <= 3 and 1 <= int(word) <= LARGEST_CODE:
        return int(word)
    raise Refused(f"{word[:40]!r} is not a kind of failure: neither {', '.join(CAUSES)} nor an exit code (1 to 255)")


def parse_delay(text: str) -> tuple[float, float]:
    """Seconds and factor of `--retry-delay DUR[xFACTOR]`: `30s`, `30sx2`, `1mx1.5`. Raises `Refused`."""
    word, grows, number = text.strip().lower().partition("x")
    delay = durations.parse(word)
    if delay > LONGEST_DELAY:
        raise Refused(f"{text!r}: the delay of a retry is at most a week")
    return delay, _parse_factor(number) if grows else 1.0


def _parse_factor(number: str) -> float:
    if number.isascii() and number.replace(".", "", 1).isdigit() and len(number) <= durations.LONGEST_TEXT:
        factor = float(number)
        if 1 <= factor <= LARGEST_FACTOR:
            return factor
    raise Refused(f"{number[:40]!r} is not a factor for the delay (1 to {LARGEST_FACTOR:.0f}, as in 30sx2)")


def cause(ended: Ended) -> str | None:
    """Which of `CAUSES` an end counts as; None: another attempt would not help, or a user asked for the end.

    Death by a signal and a launch that failed are failures.
    """
    reason = ended.reason or ""
    if reason == reasons.OUT_OF_MEMORY:
        return OOM
    if ended.state in (FINISHED, CANCELLED) or reason.startswith(REJECTED):
        return None
    if ended.state == TIMEOUT:
        return TIMED_OUT
    return ZOMBIE if reason == reasons.ZOMBIE else FAILURE


def next_attempt(retry: Retry, ended: Ended, attempts_used: int) -> float | None:
    """Seconds from its end to the next attempt; None if there will be none.

    `attempts_used` counts the attempt that ended now, so it is at least 1.
    """
    why = cause(ended)
    if attempts_used > retry.max_retries or why is None:
        return None
    if why not in retry.on and _status(ended) not in retry.on:
        return None
    try:
        return min(retry.delay * retry.factor ** (attempts_used - 1), float(LONGEST_DELAY))
    except OverflowError:
        return float(LONGEST_DELAY) if retry.delay else 0.0


def _status(ended: Ended) -> int | None:
    """The exit status that the command's shell saw."""
    return ended.exit_code if ended.signal is None else SIGNAL_BASE + ended.signal
