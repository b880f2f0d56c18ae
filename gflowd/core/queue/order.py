"""The order of the queue: priority, then the score, which grows with how long a job has waited for its length. Mutable.

    score = waited / length * gpus^(1/3) * share

Within a priority there is a lane for each user, length class and width. The order in a lane never changes, so only the
first jobs of the lanes are compared, and no job has to be moved when time passes or usage and run times change.
"""

from __future__ import annotations

from bisect import bisect_left
from heapq import heappop, heappush
from math import frexp, inf
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from gflowd.core.job.model import Job, Spec

SHORTEST, LONGEST = 600.0, 7 * 86400.0  # seconds: between these lengths count

Band = tuple[float, int]
Place = tuple[float, int]
Label = int | str | None
Shape = tuple[object, ...]


class Seat(NamedTuple):
    """A job's place: `ready` is when the job itself could have started (wall time), `label` what its length is
    predicted by, if it has no limit.
    """

    ready: float
    label: Label = None


class Key(NamedTuple):
    """What the jobs of a lane have in common; `length_class` is None if their length is predicted, by `label`."""

    user: str
    gpus: int
    length_class: float | None
    label: Label = None


def band(job: Job) -> Band:
    """What decides first: the last move to the front, then priority. The least is first."""
    return -(job.wish.top_at or 0.0), -job.spec.priority


def length_class(seconds: float) -> float:
    """The rounded length in the order: the next power of two (seconds), within limits."""
    mantissa, exponent = frexp(min(max(seconds, SHORTEST), LONGEST))
    return 2.0 ** (exponent - (mantissa == 0.5))


def score(waited: float, length: float, gpus: int, share: float) -> float:
    """How urgent a job is that has waited for `waited` seconds. With one GPU, it is 1 once it has waited as long as
    its length counts, or less if its user has used much lately.
    """
    return max(waited, 0.0) / length_class(length) * width_factor(gpus) * share


def width_factor(gpus: int) -> float:
    """The factor for the width of a job: 1 for one GPU or none, 2 for eight."""
    return float(max(gpus, 1) ** (1 / 3))


def shape(spec: Spec) -> Shape:
    """Equal for jobs that can start under the same conditions, apart from their user and their end."""
    is_limited = spec.time_limit is not None
    return (
        spec.gpus,
        spec.cpus,
        spec.memory_mb,
        spec.gpu_type,
        spec.gpu_memory_mb,
        spec.shared,
        spec.project,
        is_limited,
    )


class RuledOut:
    """What can no longer start in a plan: jobs of a shape (by number), of all users or of one, from a length
    (seconds) on. `dead` are the shapes that no user's job, however short, can start with.
    """

    def __init__(self) -> None:
        self._from: dict[tuple[int, str | None], float] = {}
        self.dead: set[int] = set()
        self.all = False  # except those that come before all of their band
        self.version = 0

    def add(self, number: int, length: float, user: str | None) -> None:
        """Rules out jobs that ask for the same and take at least as long; of this user, or of all (None)."""
        if length < self._from.get((number, user), inf):
            self._from[number, user] = length
            self.version += 1
            if user is None and length <= 0.0:
                self.dead.add(number)

    def least(self, number: int, user: str) -> float:
        """The length from which a user's jobs of a shape are ruled out."""
        found = self._from
        return min(found.get((number, None), inf), found.get((number, user), inf))


class _Lane:
    """Jobs in order of readiness, then id; their exact limits and shapes beside them."""

    __slots__ = ("key", "least", "limits", "places", "shapes", "sizes", "weight")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.weight = 0.0 if key.length_class is None else width_factor(key.gpus) / key.length_class  # 0: compute it
        self.places: list[Place] = []
        self.limits: list[float] = []  # seconds; 0 if predicted, which is the same for all
        self.shapes: list[int] = []
        self.sizes: dict[int, int] = {}  # how many there are of each shape
        self.least = inf  # a lower bound of the limits

    def add(self, at: int, place: Place, limit: float, what: int) -> None:
        self.places.insert(at, place)
        self.limits.insert(at, limit)
        self.shapes.insert(at, what)
        self.sizes[what] = self.sizes.get(what, 0) + 1
        self.least = min(self.least, limit)

    def drop(self, at: int) -> int:
        """Takes one out; its shape."""
        what = self.shapes[at]
        del self.places[at], self.limits[at], self.shapes[at]
        if self.sizes[what] == 1:
            del self.sizes[what]
        else:
            self.sizes[what] -= 1
        return what


class Walker:
    """The inputs of one walk along the line. `shares` of users (missing: 1); `predicted`: the length of jobs without
    limit, by user, width and label; `beyond(id)` is None to yield a job, or an id up to which all jobs like it
    are skipped.
    """

    def __init__(
        self,
        now: float,
        shares: Mapping[str, float],
        predicted: Callable[[str, int, Label], float],
        beyond: Callable[[int], int | None] = lambda _: None,
    ) -> None:
        self.now = now
        self.shares = shares
        self.predicted = predicted
        self.beyond = beyond
        self.folded = False  # only the first of each array
        self.abroad = False  # those of clusters, not of this machine
        self.ruled_out = RuledOut()


class PriorityOrder:
    """The jobs that may be started, by band and lane."""

    def __init__(self) -> None:
        self._bands: dict[Band, dict[Key, _Lane]] = {}
        self._numbers: dict[Shape, int] = {}
        self._shapes: dict[int, tuple[Shape, int]] = {}  # by number: the shape, and how many jobs have it
        self._next_number = 0

    def add(self, job: Job, seat: Seat) -> None:
        """Adds a job."""
        key, place = _key(job.spec, seat.label), (seat.ready, job.id)
        lanes = self._bands.setdefault(band(job), {})
        lane = lanes.get(key)
        if lane is None:
            lane = lanes[key] = _Lane(key)
        lane.add(bisect_left(lane.places, place), place, job.spec.time_limit or 0.0, self._numbered(shape(job.spec)))

    def drop(self, job: Job, seat: Seat) -> None:
        """Removes a job, if present."""
        lane, found = self._find(job, seat)
        if lane is None or found is None:
            return
        number = lane.drop(found)
        what, count = self._shapes[number]
        if count == 1:
            del self._shapes[number], self._numbers[what]
        else:
            self._shapes[number] = what, count - 1
        if not lane.places:
            lanes = self._bands[band(job)]
            del lanes[lane.key]
            if not lanes:
                del self._bands[band(job)]

    @property
    def is_empty(self) -> bool:
        """Whether no job is in the line."""
        return not self._bands

    def has(self, job: Job, seat: Seat) -> bool:
        """Whether a job is in the line."""
        return self._find(job, seat)[1] is not None

    def relabel(self, jobs: Collection[Job], before: Label, after: Label) -> None:
        """Moves those of `jobs` that are in the line with a label, all of one user, width and band, to another one."""
        for lanes in self._bands.values():
            for key in [key for key in lanes if key.length_class is None and key.label == before]:
                ids = {job.id for job in jobs if (job.spec.user, job.spec.gpus) == (key.user, key.gpus)}
                _move(lanes, key, key._replace(label=after), ids)

    def rule_out(self, walker: Walker, job: Job, length: float, *, personal: bool) -> None:
        """Makes `walker` skip jobs that ask for the same as `job` and take at least as long: of all users, or of its
        user.
        """
        number = self._numbers.get(shape(job.spec))
        if number is not None:
            walker.ruled_out.add(number, length, job.spec.user if personal else None)

    def walk(
        self, walker: Walker, pinned: Iterable[tuple[Job, Seat]] = (), then: Iterable[tuple[Job, Seat]] = ()
    ) -> Iterator[int]:
        """The ids, first to start first; `pinned` ones before all of their band, in their order. After these come
        those in `then`, which come once more in their places.
        """
        first, second = self._by_band(pinned), self._by_band(then)
        for each, lanes in sorted(self._bands.items()):
            ahead = first.get(each, ())
            after = [job_id for job_id in second.get(each, ()) if job_id not in ahead]
            yield from (job_id for job_id in (*ahead, *after) if walker.beyond(job_id) is None)
            for job_id in () if walker.ruled_out.all else _by_score(lanes.values(), walker):
                if job_id not in ahead:
                    yield job_id
                if walker.ruled_out.all or len(walker.ruled_out.dead) == len(self._shapes):
                    walker.ruled_out.all = True
                    break

    def _by_band(self, jobs: Iterable[tuple[Job, Seat]]) -> dict[Band, list[int]]:
        """The ids of those that are in the line."""
        found: dict[Band, list[int]] = {}
        for job, seat in jobs:
            if self.has(job, seat):
                found.setdefault(band(job), []).append(job.id)
        return found

    def _numbered(self, what: Shape) -> int:
        """The number of a shape, for one more job."""
        number = self._numbers.get(what)
        if number is None:
            number = self._numbers[what] = self._next_number
            self._next_number += 1
        self._shapes[number] = what, self._shapes.get(number, (what, 0))[1] + 1
        return number

    def _find(self, job: Job, seat: Seat) -> tuple[_Lane | None, int | None]:
        """The lane of a job, and the job's index in it; None if it is not there."""
        lane = self._bands.get(band(job), {}).get(_key(job.spec, seat.label))
        if lane is None:
            return None, None
        place = seat.ready, job.id
        found = bisect_left(lane.places, place)
        return lane, found if found < len(lane.places) and lane.places[found] == place else None


def _key(spec: Spec, label: Label) -> Key:
    if spec.time_limit is None:
        return Key(spec.user, spec.gpus, None, label)
    return Key(spec.user, spec.gpus, length_class(spec.time_limit))


def _move(lanes: dict[Key, _Lane], before: Key, after: Key, ids: Collection[int]) -> None:
    """At once, since there may be very many."""
    old, stay, go = lanes[before], _Lane(before), []
    for place, what in zip(old.places, old.shapes, strict=True):
        if place[1] in ids:
            go.append((place, what))
        else:
            stay.add(len(stay.places), place, 0.0, what)
    if stay.places:
        lanes[before] = stay
    else:
        del lanes[before]
    there = lanes.get(after) or _Lane(after)
    new = _Lane(after)
    for place, what in sorted([*zip(there.places, there.shapes, strict=True), *go], key=lambda each: each[0]):
        new.add(len(new.places), place, 0.0, what)
    if new.places:
        lanes[after] = new


class _Cursor:
    """Where the walk is in a lane behind its first."""

    __slots__ = ("at", "factor", "lane", "length", "limits", "version", "walker")

    def __init__(self, lane: _Lane, factor: float, walker: Walker) -> None:
        key = lane.key
        self.lane = lane
        self.factor = factor
        self.walker = walker
        self.length = walker.predicted(key.user, key.gpus, key.label) if key.length_class is None else 0.0
        self.at = 0
        self.version = 0
        self.limits: dict[int, float] | None = None  # the lengths from which its shapes are ruled out

    def head(self) -> _Head | None:
        """The key by which its first is compared; None at the end."""
        places = self.lane.places
        if self.at >= len(places):
            return None
        ready, job_id = places[self.at]
        return (ready - self.walker.now) * self.factor, ready, job_id, self

    def is_ruled_out(self) -> bool:
        """Whether its first can no longer start; moves on to the next that can."""
        rules = self.walker.ruled_out
        if self.version != rules.version:
            self.version = rules.version
            self.limits = {what: rules.least(what, self.lane.key.user) for what in self.lane.sizes}
            shortest = self.lane.least or self.length
            if all(least <= shortest for least in self.limits.values()):
                self.at = len(self.lane.places)
                return True
        if self.limits is None:
            return False
        begin, (limits, shapes, least) = self.at, (self.lane.limits, self.lane.shapes, self.limits)
        while self.at < len(limits) and least[shapes[self.at]] <= (limits[self.at] or self.length):
            self.at += 1
        return self.at != begin

    def step(self, after: int | None) -> None:
        """To the next, or to the first behind the id `after`."""
        ready, job_id = self.lane.places[self.at]
        self.at += 1
        if after is not None:  # bounded by the ids in between: a tenth of the cost of a full search
            places = self.lane.places
            self.at = bisect_left(places, (ready, after), self.at, min(len(places), self.at + after - job_id))


_Head = tuple[float, float, int, _Cursor]  # the score with a minus, readiness, id: the least is first


def _firsts(lanes: Iterable[_Lane], walker: Walker) -> list[tuple[float, float, int, _Lane, float]]:
    """The first of each lane, first to start first, with its lane and the factor of its waiting time."""
    found = []
    now, shares = walker.now, walker.shares
    for lane in lanes:
        ready, job_id = lane.places[0]
        weight, (user, gpus, _, label) = lane.weight, lane.key
        if not weight:
            weight = width_factor(gpus) / length_class(walker.predicted(user, gpus, label))
        weight *= shares.get(user, 1.0)
        found.append(((ready - now) * weight, ready, job_id, lane, weight))
    found.sort()
    return found


def _by_score(lanes: Iterable[_Lane], walker: Walker) -> Iterator[int]:
    """The ids of a band; those with equal scores by readiness, then by id.

    Most lanes are seen no further than their first: these are sorted once, and only the others go through a heap.
    """
    dead = walker.ruled_out.dead
    rest: list[_Head] = []
    for *first, lane, weight in _firsts(lanes, walker):
        while rest and rest[0][:3] < tuple(first):
            yield from _step(rest, heappop(rest)[3], walker)
        if not lane.sizes.keys() <= dead:
            yield from _step(rest, _Cursor(lane, weight, walker), walker)
    while rest:
        yield from _step(rest, heappop(rest)[3], walker)


def _step(rest: list[_Head], cursor: _Cursor, walker: Walker) -> Iterator[int]:
    """The first of a lane, if it can start; the lane goes on in its new place."""
    if not cursor.is_ruled_out():
        job_id = cursor.lane.places[cursor.at][1]
        after = walker.beyond(job_id)
        cursor.step(after)
        if after is None:
            yield job_id
    head = cursor.head()
    if head is not None:
        heappush(rest, head)
