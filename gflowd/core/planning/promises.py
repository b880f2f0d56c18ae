"""When a job that waits is to be promised a start, what is remembered of it, and why one that moved did. Pure.

A record has the job's id. `since`: when it got its place; `at`: when it starts at the latest; `by`: which jobs end
before that, and when; if it had to move, `was`: the time before, and `cause`: why. While the start depends on jobs
without a limit, `at` is None, and `estimate` is the first time that was estimated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gflowd.core.job import reasons

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from gflowd.core.job.model import Job, Spec
    from gflowd.core.queue.order import Band

    Record = Mapping[str, Any]

TOLERANCE = 1.0  # seconds: times are shown to the second, and clocks are adjusted
MOST_NAMED = 16  # of the jobs that end before
UNKNOWN = "something unknown changed"
WAS_DOWN = "the machine changed while gflowd was down"


ITS_OWN = {
    reasons.DRAINED: "no job is started while gflow is drained",
    reasons.GROUP: "other jobs of its array or with its name are running",
}


@dataclass(frozen=True, slots=True)
class Promise:
    """A job whose resources are kept for it: it starts at `at` at the latest (None: not known), and is
    `expected` to start then (None: nothing is kept for it now, for the reason `why`).
    """

    job: Job
    at: float | None
    expected: float | None
    why: str


@dataclass(frozen=True, slots=True)
class Basis:
    """What promises rest on at one moment.

    `ends` of the live jobs (`inf`: not known); `waiting`: jobs for which something is kept; `bands` of both; `specs` of
    the promised jobs; `drained`: nothing starts now, or nothing did at the last plan; `suspended`: live jobs that stand
    still; `offset`: wall clock minus monotonic clock, in seconds.
    """

    gpus: frozenset[int] = frozenset()
    capacity: object = None
    windows: frozenset[tuple[int, float, float]] = frozenset()
    quotas: object = None
    ends: Mapping[int, float] = field(default_factory=dict)
    bands: Mapping[int, Band] = field(default_factory=dict)
    waiting: frozenset[int] = frozenset()
    specs: Mapping[int, Spec] = field(default_factory=dict)
    drained: bool = False
    suspended: frozenset[int] = frozenset()
    offset: float = 0.0


def due(ready: float, length: float, after: float, within: float) -> float:
    """From when on a job that cannot start may be promised one: once it has been `ready` for `after` times its length,
    or for `within`. Wall times; lengths in seconds. Settings: `promise_after`, `promise_within`.
    """
    return ready + min(after * length, within)


def renewed(
    before: Record | None, promise: Promise, was: Basis | None, now: Basis, wall: float, *, is_doubtful: bool = False
) -> Record:
    """The record of a promise that was `before`; the same if nothing that was shown has moved.

    `is_doubtful`: a GPU has just gone away and may be back in a moment; no promise is withdrawn for that.
    """
    at = promise.at
    if before is None:
        estimate = {"estimate": promise.expected} if at is None and promise.expected is not None else {}
        return {"since": wall, "at": at, "by": _by(at, now), **estimate}
    told = before["at"]
    if at is not None and told is not None and abs(at - told) <= TOLERANCE:
        return before
    if at is not None and (told is None or at < told):  # if it is later than it once was, that is still shown
        is_late = at > before.get("was", at) + TOLERANCE
        return {**(before if is_late else _plain(before)), "at": at, "by": _by(at, now)}
    if told is None:
        return before
    if is_doubtful:
        return before
    cause = ITS_OWN.get(promise.why) or _cause(promise.job.id, before, was, now, wall)
    return {**_plain(before), "at": at, "by": _by(at, now), "was": told, "cause": cause}


def estimates(records: Mapping[int, Record]) -> dict[int, float]:
    """The first expected start of jobs with only an estimate."""
    return {job_id: each["estimate"] for job_id, each in records.items() if "estimate" in each}


def has_moved(before: Record | None, after: Record | None) -> bool:
    """Whether a promise was put off."""
    if before is None or after is None or before["at"] is None:
        return False
    return after["at"] is None or bool(after["at"] > before["at"])


def _plain(record: Record) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in ("was", "cause")}


def _by(at: float | None, now: Basis) -> list[list[float]]:
    """The jobs that end last before that time, first to end first."""
    ends = [] if at is None else sorted((end, job_id) for job_id, end in now.ends.items() if end <= at + TOLERANCE)
    return [[job_id, end] for end, job_id in ends[-MOST_NAMED:]]


def _cause(job_id: int, before: Record, was: Basis | None, now: Basis, wall: float) -> str:
    """What has changed since the promise, so that it cannot be kept."""
    if was is None:
        higher = next(_higher(job_id, (), (), now), WAS_DOWN)
        return _longer(dict(before["by"]), now, wall) or higher
    return next(_causes(job_id, was, now, wall), UNKNOWN)


def _causes(job_id: int, was: Basis, now: Basis, wall: float) -> Iterator[str]:
    """All changes, the most significant first."""
    if was.specs.get(job_id) != now.specs.get(job_id):
        yield "its request was changed"
    if abs(now.offset - was.offset) > TOLERANCE:
        yield "the clock was set"
    if now.drained:
        yield ITS_OWN[reasons.DRAINED]
    if gone := was.gpus - now.gpus:
        yield f"GPU {_named(gone)} is not available"
    if was.capacity != now.capacity:
        yield "the machine has fewer resources"
    if new := {window[0] for window in now.windows} - {window[0] for window in was.windows}:
        yield f"reservation {_named(new)} was made"
    if longer := _longer(was.ends, now, wall):
        yield longer
    yield from _higher(job_id, was.ends.keys(), was.waiting, now)
    if was.quotas != now.quotas:
        yield "a quota was changed"
    yield from _higher(job_id, was.ends.keys(), (), now)
    if now.ends.keys() - was.ends.keys():
        yield f"job {_named(now.ends.keys() - was.ends.keys())} has started"


def _higher(job_id: int, live: Collection[int], waiting: Collection[int], now: Basis) -> Iterator[str]:
    """Jobs of higher priority that are new since then."""
    mine = now.bands.get(job_id)
    if mine is not None:
        ahead = {each for each, its in now.bands.items() if its < mine}
        if started := ahead.intersection(now.ends).difference(live):
            yield f"job {_named(started)} of higher priority has started"
        if waits := ahead.intersection(now.waiting).difference(waiting):
            yield f"job {_named(waits)} of higher priority waits"


def _named(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def _longer(ends: Mapping[int, float], now: Basis, wall: float) -> str | None:
    for job_id, end in sorted(ends.items()):
        if now.ends.get(job_id, end) > end + TOLERANCE:
            if job_id in now.suspended:
                return f"job {job_id} is suspended"
            what = "exceeds its limit" if end <= wall + TOLERANCE else "may now run longer"
            return f"job {job_id} {what}"
    return None
