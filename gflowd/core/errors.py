"""The errors, each with its exit status. One place per program catches and prints them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_WORD = 500  # characters
KEPT = 200  # of a longer one, at each end


class GflowError(Exception):
    """The base: `str()` is the one line that the user reads, `status` the exit status of the program."""

    status = 3


class Refused(GflowError):
    """The request is invalid or cannot be met; nothing was changed."""

    status = 1


class BadUsage(GflowError):
    """The command line is wrong."""

    status = 2


class SystemFailed(GflowError):
    """A system error: disk full, snapshot unreadable, no tmux."""

    status = 3


class TryAgain(GflowError):
    """Something stayed busy past its deadline; the same request may succeed later (EX_TEMPFAIL of sysexits.h)."""

    status = 75


def brief(message: str) -> str:
    """`message` with very long words shortened in the middle: errors repeat what users typed."""
    if len(message) <= LONGEST_WORD:
        return message
    words = message.split(" ")
    return " ".join(word if len(word) <= LONGEST_WORD else f"{word[:KEPT]}...{word[-KEPT:]}" for word in words)


def meant(word: str, known: Iterable[str], dashes: str = "", likeness: float = 0.6) -> str:
    """` (did you mean start?)` where one of the `known` words is like `word`; else nothing."""
    from difflib import get_close_matches

    names = list(known)
    begun = [name for name in names if len(word) > 1 and name.startswith(word)]
    near = begun[:1] if len(set(begun)) == 1 else get_close_matches(word, names, n=1, cutoff=likeness)
    return f" (did you mean {dashes}{near[0]}?)" if near else ""
