"""What jobs came to: how they ended, how long they waited and ran, the GPU time that they used. Sums, no decisions."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, tzinfo
from heapq import heappop, heappush
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

from gflowd.core.job.model import FAILED, FINISHED, TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Span = tuple[float, float, tuple[int, ...]]  # begin and end, seconds since the epoch, and the GPUs had between

USER, PROJECT, DAY = "user", "project", "day"
HOUR = 3600.0


class Use(NamedTuple):
    """What an attempt used, as far as it is known; `gpu_seconds` is the weight of `gpu_percent`."""

    cpu_seconds: float | None
    memory_mb: int | None
    gpu_percent: float | None
    gpu_seconds: float


class Account(NamedTuple):
    """A job in short. `ended_at`: None while it is not over. `spans`: one for each attempt that began; `used`: of those
    that have ended and of which something is known. `due_at`: of a run of a series, when it was due.
    """

    user: str
    project: str | None
    state: str
    submitted_at: float
    ended_at: float | None
    spans: Sequence[Span]
    used: Sequence[Use] = ()
    due_at: float | None = None

    @property
    def awaited_from(self) -> float:
        """When it began to wait. A run of a series is queued by the daemon, long before its time."""
        return self.submitted_at if self.due_at is None else max(self.submitted_at, self.due_at)


class Spread(NamedTuple):
    """How durations are spread, in seconds; `p95`: the least that 95 % of them do not exceed (nearest rank)."""

    mean: float
    median: float
    p95: float


class Summary(NamedTuple):
    """The totals of a group of jobs. `success_rate`: of those that ended and were not cancelled. The last three are of
    attempts that have ended, as far as is known: the memory is the most of one attempt, `gpu_percent` the mean over the
    time for which GPUs were had.
    """

    states: Counter[str]
    success_rate: float | None
    wait: Spread | None
    run: Spread | None
    gpu_hours: float
    peak_gpus: int
    cpu_hours: float = 0.0
    peak_memory_mb: int | None = None
    gpu_percent: float | None = None


class Calendar:
    """The days of a time zone; None is the local one. Knows the day that it was last asked for at once."""

    def __init__(self, zone: tzinfo | None) -> None:
        self._zone = zone
        self._begin = self._end = 0.0
        self._name = ""

    def day(self, at: float) -> str:
        """`2025-01-31`."""
        if not self._begin <= at < self._end:
            day = datetime.fromtimestamp(at, self._zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
            self._begin, self._end = day.timestamp(), (day + timedelta(days=1)).timestamp()
            self._name = day.date().isoformat()
        return self._name

    def parts(self, begin: float, end: float) -> Iterator[tuple[str, float, float]]:
        """The span parted at midnights: the day, begin and end of each part. One without length is a part too."""
        while True:
            day, until = self.day(begin), min(self._end, end)
            yield day, begin, until
            if until >= end:
                return
            begin = until

    def days(self, first: str, last: str) -> list[str]:
        """All days from `first` to `last`."""
        begin, end = datetime.fromisoformat(first), datetime.fromisoformat(last)
        return [(begin + timedelta(days=number)).date().isoformat() for number in range((end - begin).days + 1)]


class Tally:
    """The jobs of a group as they are counted. Mutable."""

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()
        self.waits: list[float] = []
        self.runs: list[float] = []
        self.uses: list[Span] = []
        self.used: list[Use] = []

    def count(self, account: Account) -> None:
        """A job. It ran for as long as its last attempt did."""
        self.states[account.state] += 1
        self.used += account.used
        if account.spans:
            self.waits.append(max(0.0, account.spans[0][0] - account.awaited_from))
            if account.ended_at is not None:
                begin, end, _ = account.spans[-1]
                self.runs.append(max(0.0, end - begin))

    def summary(self) -> Summary:
        """The totals."""
        tried = sum(self.states[state] for state in (FINISHED, FAILED, TIMEOUT))
        seconds = sum((end - begin) * len(gpus) for begin, end, gpus in self.uses)
        return Summary(
            states=self.states,
            success_rate=self.states[FINISHED] / tried if tried else None,
            wait=spread(self.waits),
            run=spread(self.runs),
            gpu_hours=seconds / HOUR,
            peak_gpus=peak(self.uses),
            cpu_hours=sum(use.cpu_seconds or 0.0 for use in self.used) / HOUR,
            peak_memory_mb=max((use.memory_mb for use in self.used if use.memory_mb is not None), default=None),
            gpu_percent=_mean_percent(self.used),
        )


def tallied(
    accounts: Iterable[Account], by: str | None, calendar: Calendar, since: float, until: float
) -> tuple[dict[str, Tally], dict[str, float]]:
    """The jobs by user, project, day or in one group (None), and the GPU hours of each day.

    A job belongs to the day on which it ended. GPU time counts where it was used, from `since` to `until`.
    """
    tallies: dict[str, Tally] = {}
    hours: dict[str, float] = {}
    for account in accounts:
        group = _group(account, by, calendar)
        if group is not None:
            if group not in tallies:
                tallies[group] = Tally()
            tallies[group].count(account)
        for begin, end, gpus in account.spans:
            first, last = max(begin, since), min(end, until)
            if not gpus or last < first or (begin < end and first == last):
                continue
            for day, since_then, until_then in calendar.parts(first, last):
                hours[day] = hours.get(day, 0.0) + (until_then - since_then) * len(gpus) / HOUR
                used = day if by == DAY else group or ""
                tally = tallies.get(used)
                if tally is None:
                    tally = tallies[used] = Tally()
                tally.uses.append((since_then, until_then, gpus))
    return tallies, hours


def _group(account: Account, by: str | None, calendar: Calendar) -> str | None:
    if by == DAY:
        return None if account.ended_at is None else calendar.day(account.ended_at)
    if by == PROJECT:
        return account.project or "-"
    return account.user if by == USER else ""


def use(record: Mapping[str, Any] | None, span: Span) -> Use | None:
    """What the record of an ended attempt says, which had that span."""
    if not record:
        return None
    begin, end, gpus = span
    seconds = max(0.0, end - begin) * len(gpus)
    return Use(record.get("cpu_seconds"), record.get("memory_mb"), record.get("gpu_percent"), seconds)


def _mean_percent(used: Iterable[Use]) -> float | None:
    seen = [(use.gpu_percent, use.gpu_seconds) for use in used if use.gpu_percent is not None]
    weight = sum(seconds for _, seconds in seen)
    return sum(percent * seconds for percent, seconds in seen) / weight if weight else None


def spread(values: Iterable[float]) -> Spread | None:
    """Of durations; None without any."""
    ascending = sorted(values)
    count = len(ascending)
    if not count:
        return None
    median = (ascending[(count - 1) // 2] + ascending[count // 2]) / 2
    return Spread(sum(ascending) / count, median, ascending[ceil(0.95 * count) - 1])


def peak(uses: Iterable[Span]) -> int:
    """The largest number of GPUs in use at one time. A GPU that several jobs share counts once."""
    ends: list[tuple[float, tuple[int, ...]]] = []
    users: Counter[int] = Counter()
    busy = most = 0
    for begin, end, gpus in sorted(uses):
        while ends and ends[0][0] <= begin:
            for gpu in heappop(ends)[1]:
                users[gpu] -= 1
                busy -= not users[gpu]
        for gpu in gpus:
            busy += not users[gpu]
            users[gpu] += 1
        heappush(ends, (end, gpus))
        most = max(most, busy)
    return most
