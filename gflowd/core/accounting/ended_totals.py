"""What ended jobs came to, in totals that stay exact whatever is added and taken away again, and in which order.

So every number is whole: durations are in microseconds. Works on the records of the snapshot and of the history.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from gflowd.core.job import reasons

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    Record = Mapping[str, Any]

SECOND = 1_000_000  # microseconds
MINUTE, HOUR, DAY = 60, 3600, 86400
BOUNDS = (1, 5, 15, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, 12 * HOUR, DAY, 3 * DAY, 7 * DAY)  # seconds
_PLACES = len(BOUNDS) + 1  # the last is of what is longer

# Where things are in the numbers of a group.
ENDS, JOBS, GPU_TIME, RUN_TIME, WAIT_TIME = range(5)
_RUNS, _WAITS = 5, 5 + _PLACES
SIZE = 5 + 2 * _PLACES
LAYOUT = 1  # of the numbers; another one is counted anew from what is there
MOST_REMOTE = 4096  # GPUs of one job on a cluster, which have numbers of their own


class Group(NamedTuple):
    """What attempts have in common that are counted together; `reason` without what follows its colon."""

    user: str
    project: str
    state: str
    reason: str


class Spread(NamedTuple):
    """A histogram: how many there were within each of `BOUNDS` and in all, and their sum in microseconds."""

    counts: tuple[int, ...]
    total: int


def gpus_had(job_id: int, gpu_ids: Iterable[int], remote: int) -> tuple[int, ...]:
    """The GPUs of an attempt, each by a number of its own: those of this machine by their index, and as many of a
    cluster as are `remote`, by negative ones that no other job has.
    """
    return (*gpu_ids, *(-(job_id * MOST_REMOTE + each) - 1 for each in range(remote)))


class Tally:
    """Mutable. `numbers`: by group, those of its attempts that have ended; a job counts where its last attempt does."""

    def __init__(self, numbers: Mapping[Group, Sequence[int]] | None = None) -> None:
        self.numbers = {group: list(each) for group, each in (numbers or {}).items()}

    def job(
        self, spec: Record, wish: Record | None, phase: Record, attempts: Iterable[Record] = (), by: int = 1
    ) -> None:
        """An ended job: its last attempt, and those before it. `by` -1 takes it out again."""
        self._of(spec, phase)[JOBS] += by
        for record in (*attempts, phase):
            self.attempt(spec, wish, record, by)

    def attempt(self, spec: Record, wish: Record | None, ended: Record, by: int = 1) -> None:
        """One that has ended, of a job that may not have."""
        numbers = self._of(spec, ended)
        numbers[ENDS] += by
        run, began = ended.get("run") or {}, ended.get("started_at")
        if began is None:
            return
        had = max(0, round((ended["ended_at"] - began) * SECOND))
        ran = max(0, had - round(ended.get("paused", 0.0) * SECOND))
        numbers[GPU_TIME] += by * had * (len(run.get("gpu_ids", ())) + run.get("remote_gpus", 0))
        numbers[RUN_TIME] += by * ran
        numbers[_RUNS + _place(ran)] += by
        if run.get("attempt", 1) == 1:
            waited = max(0, round((began - awaited_from(spec, wish)) * SECOND))
            numbers[WAIT_TIME] += by * waited
            numbers[_WAITS + _place(waited)] += by

    def add(self, other: Tally, by: int = 1) -> None:
        """All of another; `by` -1 takes it out again."""
        for group, theirs in other.numbers.items():
            ours = self.numbers.setdefault(group, [0] * SIZE)
            for place, number in enumerate(theirs):
                ours[place] += by * number

    def total(self, *names: str) -> dict[tuple[str, ...], Tally]:
        """The same, with groups that have only the fields `names` in common, by these."""
        found: dict[tuple[str, ...], Tally] = {}
        for group, numbers in self.numbers.items():
            key = tuple(getattr(group, name) for name in names)
            found.setdefault(key, Tally()).add(Tally({Group("", "", "", ""): numbers}))
        return found

    def sum(self, place: int) -> int:
        """The sum of one number over all groups."""
        return sum(numbers[place] for numbers in self.numbers.values())

    @property
    def runs(self) -> Spread:
        """How long attempts ran that had begun, without the time for which they were suspended."""
        return self._spread(_RUNS, RUN_TIME)

    @property
    def waits(self) -> Spread:
        """How long jobs waited for their first start."""
        return self._spread(_WAITS, WAIT_TIME)

    def _spread(self, first: int, total: int) -> Spread:
        counts = (self.sum(first + place) for place in range(_PLACES))
        return Spread(tuple(accumulate(counts)), self.sum(total))

    def _of(self, spec: Record, ended: Record) -> list[int]:
        reason = reasons.name(ended.get("reason") or "")
        group = Group(spec["user"], spec.get("project") or "", ended["state"], reason)
        if group not in self.numbers:
            self.numbers[group] = [0] * SIZE
        return self.numbers[group]


def awaited_from(spec: Record, wish: Record | None) -> float:
    """When a job began to wait for its start: before its begin time, and while it was held, it waited for nothing."""
    begin_at, released_at = (None, None) if wish is None else (wish.get("begin_at"), wish.get("released_at"))
    asked = spec.get("begin_at") if begin_at is None else begin_at
    due = (spec.get("repeat") or {}).get("due")
    return float(max(at for at in (spec["submitted_at"], asked, released_at, due) if at is not None))


def _place(microseconds: int) -> int:
    return bisect_left(BOUNDS, microseconds / SECOND)
