"""What is allocated, until when, and what is kept for which job: the planner's books. Mutable; pure.

There are two ways to look ahead. *Known*: a job ends at its time limit, one without a limit never.
*Expected*: a job without a limit ends when such jobs usually do. In both, a reservation keeps its GPUs from all users
but its owner.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from gflowd.core.planning.reservations import is_same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gflowd.core.job.model import Spec
    from gflowd.core.planning.capacity import Capacity, Device
    from gflowd.core.planning.reservations import Owner, Window

OVERDUE = 1.0  # seconds within which an overdue job is expected to end
WEEK = 7 * 86400.0  # seconds, after which all repeating reservations have repeated
LONGER = WEEK + 86400.0  # seconds: a longer job meets the same reservations as a job of this length


@dataclass(frozen=True, slots=True)
class Hold:
    """What one job holds until `end` (wall time).

    `shared_mb`: the memory that it holds of each of its GPUs; None: all of it. `certain`: it will have ended by then;
    otherwise that is only expected.
    """

    user: str
    end: float
    cpus: int
    memory_mb: int
    gpus: tuple[int, ...]
    shared_mb: int | None = None
    certain: bool = True
    uid: int | None = None

    @property
    def owner(self) -> Owner:
        """Whose it is."""
        return self.user, self.uid

    def is_over(self, at: float, *, certain: bool) -> bool:
        """Whether it has ended by then: for certain, or as expected."""
        return self.end <= at and (self.certain or not certain)


def hold(spec: Spec, gpus: tuple[int, ...], end: float, *, certain: bool = True) -> Hold:
    """What a job with these GPUs holds."""
    shared_mb = spec.gpu_memory_mb or 0 if spec.shared else None
    return Hold(spec.user, end, spec.cpus, spec.memory_mb or 0, gpus, shared_mb, certain, spec.uid)


def owner_of(spec: Spec) -> Owner:
    """Whose a job is."""
    return spec.user, spec.uid


def _owners(windows: Iterable[Window]) -> set[Owner]:
    """For whom they are; one whose id only some of them tell is one user."""
    found = {each.owner for each in windows}
    known = {name for name, uid in found if uid is not None}
    return {(name, uid) for name, uid in found if uid is not None or name not in known}


def _gone(spec: Spec, until: float) -> float:
    """The end that reservations reckon with: a job without a limit may run for ever."""
    return inf if spec.time_limit is None else until


class Kept(NamedTuple):
    """What is kept for a job that will start at `begin`: these GPUs or equivalent ones."""

    spec: Spec
    begin: float
    end: float
    given: Hold
    judged: float  # a job that has not ended by then counts as not ended at `begin` either
    known: bool  # it was promised, so only jobs that end for certain count as ended


class Occupancy:
    """What is allocated of `capacity` at the time `now`. Of its GPUs, only those `available` count.

    `cpus` and `memory_mb` are free now; they are negative if the configuration has shrunk. `windows` of reservations
    are known up to `horizon`, single ones also beyond. `doubtful` GPUs were available a moment ago and may come back.
    """

    def __init__(
        self,
        capacity: Capacity,
        available: Iterable[int],
        now: float,
        windows: Sequence[Window] = (),
        horizon: float = inf,
        doubtful: Iterable[int] = (),
    ) -> None:
        missed = set(doubtful)
        usable = missed.union(available)
        self.capacity = capacity
        self.now = now
        self.windows = windows
        self.horizon = horizon
        self.cpus = capacity.cpus
        self.memory_mb = capacity.memory_mb
        self._devices = [device for device in capacity.gpus or () if device.index in usable]
        self._suiting: dict[tuple[str | None, int | None, bool], list[Device]] = {}  # by the deciding view
        self._holds: list[Hold] = []
        self._on: dict[int, list[Hold]] = {device.index: [] for device in self._devices}
        self._kept: dict[bool, list[Kept]] = {True: [], False: []}  # the known ends, and the expected ones
        self._guesses = 0  # holds whose end is not known
        self._missed = missed & self._on.keys()
        self.is_doubtful = bool(self._missed)
        for index in missed & self._on.keys():
            self.take(Hold("", now, 0, 0, (index,), certain=False))

    def take(self, given: Hold) -> None:
        """Records that a job holds this from now on. If anything is kept, `spares` must have allowed it."""
        if given.end <= self.now:
            given = replace(given, end=self.now + OVERDUE)
        self._add(given)
        for certain in (True, False):
            if self._kept[certain]:
                self._kept[certain] = self._kept_anew(certain=certain) or self._kept[certain]

    def keep(
        self, spec: Spec, at: float, until: float, *, certain: bool, judged: float | None = None, known: bool = False
    ) -> None:
        """Keeps what `spec` needs from `at` to `until`; if that is impossible, nothing. Only jobs that end by `judged`
        (default: `at`) count as ended then; with `known`, only those whose end is certain.
        """
        given = self._placed(spec, at, until, certain=certain)
        if given is not None:
            kept = Kept(spec, at, until, given, at if judged is None else min(at, judged), known)
            self._kept[certain].append(kept)

    def spares(self, given: Hold) -> bool:
        """Whether everything kept stays possible if another job holds this from now on."""
        modes = [mode for mode in (False, True) if self._kept[mode]]
        if not modes:
            return True
        if self.is_known and given.certain:
            modes = modes[:1]  # the expected ends are the known ones
        if not given.certain and any(each.known for each in self._kept[False]):
            given = replace(given, end=inf)
        if all(each.judged >= given.end and (given.certain or not mode) for mode in modes for each in self._kept[mode]):
            return True
        late = [each.begin for each in self._kept[False] if each.judged < given.end <= each.begin]
        if late:
            given = replace(given, end=max(late) + OVERDUE)
        self._add(given)
        spared = all(self._kept_anew(certain=mode) is not None for mode in modes)
        self._remove_last(given)
        return spared

    def advance(self, at: float) -> None:
        """Moves the present to `at`: what is expected to have ended by then is free."""
        self.now = at
        ended = [each for each in self._holds if each.end <= at]
        if ended:
            self._holds = [each for each in self._holds if each.end > at]
            for index in {index for each in ended for index in each.gpus if index in self._on}:
                self._on[index] = [each for each in self._on[index] if each.end > at]
            self.cpus += sum(each.cpus for each in ended)
            self.memory_mb += sum(each.memory_mb for each in ended)
            self._guesses -= sum(not each.certain for each in ended)

    def slack(self, spec: Spec, at: float, until: float | None = None, *, certain: bool = False) -> tuple[int, int]:
        """The CPUs and memory left from `at` to `until` (None: at that moment) if `spec` begins then.

        A negative resource counts as 0 for a job that asks for none of it.
        """
        cpus, memory_mb = self._free(at, until, certain=certain)
        asked = spec.memory_mb or 0
        return cpus - spec.cpus if spec.cpus else max(cpus, 0), memory_mb - asked if asked else max(memory_mb, 0)

    def candidates(
        self, spec: Spec, at: float, until: float, *, reserved: bool = False, certain: bool = False
    ) -> list[int]:
        """The GPUs that `spec` could use from `at` to `until`: those reserved for its user first, then the fullest if
        it shares, then by index. With `reserved`, also those that are kept or reserved for others.
        """
        ours, theirs = (set[int](), set[int]()) if reserved else self._reserved(owner_of(spec), at, _gone(spec, until))
        later = [] if reserved or at <= self.now else self._during(at, until, certain=certain)
        found = []
        for device in self._that_suit(spec):
            if device.index in theirs:
                continue
            held = self._on[device.index]
            if at > self.now:
                held = [each for each in held if not each.is_over(at, certain=certain)]
                held += [each.given for each in later if device.index in each.given.gpus]
            asked = spec.gpu_memory_mb or 0
            others = device.foreign_mb if at <= self.now else 0
            if not spec.shared:
                if not held and (not others or others + asked <= device.memory_mb):
                    found.append((device.index not in ours, 0, device.index))
                continue
            if any(each.shared_mb is None for each in held):
                continue
            given = sum(each.shared_mb or 0 for each in held)
            really = max(given + others, device.used_mb) if at <= self.now else given
            if really + asked <= device.memory_mb:
                found.append((device.index not in ours, -given, device.index))
        return [index for *_, index in sorted(found)]

    def wanted_later(self) -> list[set[int]]:
        """For each job with kept resources, the GPUs that it could then have."""
        return [
            set(self.candidates(each.spec, each.begin, each.end, certain=certain)) | set(each.given.gpus)
            for certain in (False, True)
            for each in self._kept[certain]
            if each.spec.gpus
        ]

    def kept_times(self) -> Iterator[float]:
        """When the jobs with kept resources begin."""
        return (each.begin for kept in self._kept.values() for each in kept)

    def suitable(self, spec: Spec) -> int:
        """The number of available GPUs of the requested kind, whether or not in use; without doubtful ones."""
        return sum(device.index not in self._missed for device in self._that_suit(spec))

    def _that_suit(self, spec: Spec) -> list[Device]:
        """The usable GPUs of the requested kind, whether or not in use."""
        key = spec.gpu_type, spec.gpu_memory_mb, spec.gpus > 1
        found = self._suiting.get(key)
        if found is None:
            found = self._suiting[key] = [device for device in self._devices if device.suits(spec)]
        return found

    def leaves_enough(self, spec: Spec, gpus: Iterable[int], at: float, until: float, *, certain: bool = False) -> bool:
        """Whether the reservations by count are still met if `spec` also has these GPUs from `at` until `until`."""
        if not self.windows:
            return True
        owner = owner_of(spec)
        counted = [each for each in self._overlapping(owner, at, _gone(spec, until)) if each.gpu_list is None]
        taken = set(gpus)
        return not counted or all(
            self._is_met([each for each in counted if each.start <= when < each.end], owner, taken, when, certain)
            for when in {at, *(each.start for each in self.windows if at < each.start < _gone(spec, until))}
        )

    def fits(self, spec: Spec, at: float, until: float, *, certain: bool = False) -> bool:
        """Whether `spec` could run from `at` until `until`, together with everything kept."""
        if min(self.slack(spec, at, until, certain=certain)) < 0:
            return False
        if not spec.gpus:
            return True
        found = self.candidates(spec, at, until, certain=certain)
        enough = len(found) >= spec.gpus
        return enough and self.leaves_enough(spec, found[: spec.gpus], at, until, certain=certain)

    def earliest(
        self,
        spec: Spec,
        length: float,
        *,
        certain: bool = False,
        admits: Callable[[float], bool] | None = None,
    ) -> float | None:
        """The earliest time at which `spec` can begin; `inf`: beyond the known windows; None: none is known.

        `admits` says whether other jobs allow it to begin at a time.
        """
        ends = {each.end for each in self._holds if each.certain or not certain}
        ends.update(each.end for each in self._kept[certain])
        owner = owner_of(spec)
        times = sorted(ends | {each.end for each in self.windows if not each.is_for(owner) and each.end > self.now})

        def fits(at: float) -> bool:
            return self.fits(spec, at, at + length, certain=certain) and (admits is None or admits(at))

        if not self.windows and not self._kept[certain] and admits is None:  # the free resources only grow
            place = bisect_left(times, x=True, key=fits)
            return times[place] if place < len(times) else None
        for at in times:
            if at + min(length, LONGER) > self.horizon and any(each.again for each in self.windows):
                return inf
            if fits(at):
                return at
        return None

    def next_end(self) -> float | None:
        """When something is released next, or a reservation ends."""
        times = (*(each.end for each in self._holds), *(each.end for each in self.windows))
        return min((at for at in times if at > self.now), default=None)

    @property
    def is_known(self) -> bool:
        """Whether all expected ends are known ones."""
        return not self._guesses and len(self._kept[True]) == len(self._kept[False])

    def _add(self, given: Hold) -> None:
        self.cpus -= given.cpus
        self.memory_mb -= given.memory_mb
        self._guesses += not given.certain
        self._holds.append(given)
        for index in given.gpus:
            if index in self._on:
                self._on[index].append(given)

    def _remove_last(self, given: Hold) -> None:
        self._holds.pop()
        for index in given.gpus:
            if index in self._on:
                self._on[index].pop()
        self._guesses -= not given.certain
        self.cpus += given.cpus
        self.memory_mb += given.memory_mb

    def _placed(self, spec: Spec, at: float, until: float, *, certain: bool) -> Hold | None:
        if not self.fits(spec, at, until, certain=certain):
            return None
        gpus = self.candidates(spec, at, until, certain=certain) if spec.gpus else []
        if not (spec.shared or self.windows):  # those that become free last are least useful to others
            gpus.sort(key=self._busy_until, reverse=True)
        return hold(spec, tuple(sorted(gpus[: spec.gpus])), until)

    def _busy_until(self, index: int) -> float:
        return max((each.end for each in self._on[index]), default=self.now)

    def _kept_anew(self, *, certain: bool) -> list[Kept] | None:
        """Everything kept, placed anew, each at its time; None if that is no longer possible."""
        before, self._kept[certain] = self._kept[certain], []
        try:
            for each in before:
                given = self._placed(each.spec, each.begin, each.end, certain=certain)
                if given is None:
                    return None
                self._kept[certain].append(each._replace(given=given))
            return self._kept[certain]
        finally:
            self._kept[certain] = before

    def _during(self, at: float, until: float, *, certain: bool) -> list[Kept]:
        return [each for each in self._kept[certain] if each.begin < until and each.end > at]

    def _free(self, at: float, until: float | None, *, certain: bool) -> tuple[int, int]:
        """The least number of CPUs and the least memory that are free at any time from `at` to `until`."""
        if at <= self.now:  # `spares` takes care of what is kept
            return self.cpus, self.memory_mb
        later = self._during(at, at if until is None else until, certain=certain)
        found = []
        for when in {at, *(each.begin for each in later if each.begin > at)}:
            gone = [each for each in self._holds if each.is_over(when, certain=certain)]
            there = [each.given for each in later if each.begin <= when < each.end]
            found.append((
                self.cpus + sum(each.cpus for each in gone) - sum(each.cpus for each in there),
                self.memory_mb + sum(each.memory_mb for each in gone) - sum(each.memory_mb for each in there),
            ))  # fmt: skip
        return min(cpus for cpus, _ in found), min(memory_mb for _, memory_mb in found)

    def _overlapping(self, owner: Owner, at: float, until: float) -> list[Window]:
        """The reservations of others in a span of time."""
        return [each for each in self.windows if each.start < until and each.end > at and not each.is_for(owner)]

    def _reserved(self, owner: Owner, at: float, until: float) -> tuple[set[int], set[int]]:
        """The indices that are reserved for `owner` at `at`, and those of others at any time until `until`."""
        if not self.windows:
            return set(), set()
        ours = {
            index
            for each in self.windows
            if each.start <= at < each.end and each.is_for(owner)
            for index in each.gpu_list or ()
        }
        return ours, {index for each in self._overlapping(owner, at, until) for index in each.gpu_list or ()}

    def _is_met(self, counted: list[Window], asker: Owner, taken: set[int], when: float, certain: bool) -> bool:  # noqa: FBT001
        """Whether at `when` enough GPUs are free for the reservations by count, less those that their owners use."""
        holders = {index: {asker} for index in taken}
        for index, held in self._on.items():
            for each in held:
                if when <= self.now or not each.is_over(when, certain=certain):
                    holders.setdefault(index, set()).add(each.owner)
        wanted = 0
        for owner in _owners(counted):
            reserved = sum(each.gpus for each in counted if each.is_for(owner))
            used = sum(all(is_same(owner, each) for each in users) for users in holders.values())
            wanted += max(0, reserved - used)
        listed = {index for each in self.windows if each.start <= when < each.end for index in each.gpu_list or ()}
        return sum(index not in holders and index not in listed for index in self._on) >= wanted
