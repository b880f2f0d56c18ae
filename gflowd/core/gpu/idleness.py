"""Which jobs leave all their GPUs idle, and for how long. Takes what polls saw; ends no job.

Only what was seen counts: a GPU of unknown utilisation counts as busy, and so does every GPU between
two polls that are too far apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Key = tuple[int, int]  # id and attempt


@dataclass(frozen=True, slots=True)
class Idleness:
    """What is known after the poll at `at` (monotonic, as all times here): since when each idle attempt is so."""

    at: float = float("-inf")
    since: Mapping[Key, float] = field(default_factory=dict)


def follow(
    before: Idleness, held: Mapping[Key, Iterable[int]], utilisation: Mapping[int, int | None], at: float, gap: float
) -> Idleness:
    """What another poll at `at` adds: `held` are the GPUs of each live attempt, by index, `utilisation` in percent.

    A poll more than `gap` seconds after the previous one starts over; one that is not later changes nothing.
    """
    if at <= before.at:
        return before
    known = before.since if at - before.at <= gap else {}
    idle = (key for key, gpus in held.items() if is_idle(gpus, utilisation))
    return Idleness(at, {key: known.get(key, at) for key in idle})


def is_idle(gpus: Iterable[int], utilisation: Mapping[int, int | None]) -> bool:
    """Whether there is at least one GPU, and all are seen to be idle."""
    seen = [utilisation.get(gpu) for gpu in gpus]
    return bool(seen) and all(each == 0 for each in seen)


def next_due(found: Idleness, *limits: float | None) -> float | None:
    """When next an attempt will have been idle for one of `limits` if it stays so; None for none."""
    dues = (since + seconds for since in found.since.values() for seconds in limits if seconds is not None)
    return min((due for due in dues if due > found.at), default=None)


def idle_for(found: Idleness, seconds: float | None) -> tuple[Key, ...]:
    """The attempts that have been idle for `seconds` (`idle_warn`, `idle_cancel`; None: off), as of the last poll."""
    if seconds is None:
        return ()
    return tuple(sorted(key for key, since in found.since.items() if found.at - since >= seconds))
