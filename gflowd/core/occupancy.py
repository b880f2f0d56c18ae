"""What is given out, and until when: the books that the planner plans with. Mutable; pure.

A job counts as gone at its time limit, never before; a reservation keeps its GPUs from everybody but its owner.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gflowd.core.capacity import Capacity
    from gflowd.core.model import Spec
    from gflowd.core.reservations import Window

OVERDUE = 1.0  # seconds in which something that should be gone by now is expected to be


@dataclass(frozen=True, slots=True)
class Hold:
    """What one job has until `end` (wall time, `inf` without a limit); `shared_mb` of each of its GPUs, None: all.

    `outlasts`: it ends after all others of which nobody knows when they end.
    """

    user: str
    end: float
    cpus: int
    memory_mb: int
    gpus: tuple[int, ...]
    shared_mb: int | None = None
    outlasts: bool = False

    def is_over(self, at: float) -> bool:
        """Whether it has ended by then."""
        return self.end <= at and not self.outlasts


def hold(spec: Spec, gpus: tuple[int, ...], end: float) -> Hold:
    """What a job has that was given these GPUs."""
    shared_mb = spec.gpu_memory_mb or 0 if spec.shared else None
    return Hold(spec.user, end, spec.cpus, spec.memory_mb or 0, gpus, shared_mb)


class Occupancy:
    """What is given out of `capacity` as of `now`; of its GPUs only those `available` count.

    `cpus` and `memory_mb` are what is free now, below zero when the configuration shrank.
    """

    def __init__(
        self, capacity: Capacity, available: Iterable[int], now: float, windows: Sequence[Window] = ()
    ) -> None:
        usable = set(available)
        self.capacity = capacity
        self.now = now
        self.windows = windows
        self.cpus = capacity.cpus
        self.memory_mb = capacity.memory_mb
        self._devices = [device for device in capacity.gpus or () if device.index in usable]
        self._holds: list[Hold] = []
        self._on: dict[int, list[Hold]] = {device.index: [] for device in self._devices}

    def take(self, given: Hold) -> None:
        """Notes what a job has, as of now."""
        if given.end <= self.now:
            given = replace(given, end=self.now + OVERDUE)
        self.cpus -= given.cpus
        self.memory_mb -= given.memory_mb
        self._holds.append(given)
        for index in given.gpus:
            if index in self._on:
                self._on[index].append(given)

    def advance(self, at: float) -> None:
        """Makes `at` the present: what has ended by then is free."""
        self.now = at
        ended = [each for each in self._holds if each.end <= at]
        if ended:
            self._holds = [each for each in self._holds if each.end > at]
            self._on = {index: [each for each in held if each.end > at] for index, held in self._on.items()}
            self.cpus += sum(each.cpus for each in ended)
            self.memory_mb += sum(each.memory_mb for each in ended)

    def slack(self, spec: Spec, at: float) -> tuple[int, int]:
        """CPUs and memory left over at a time, with `spec` begun then.

        Who asks for none of what has become less than nothing has enough of it.
        """
        gone = () if at <= self.now else [each for each in self._holds if each.is_over(at)]
        cpus = self.cpus + sum(each.cpus for each in gone)
        memory_mb = self.memory_mb + sum(each.memory_mb for each in gone)
        asked = spec.memory_mb or 0
        return cpus - spec.cpus if spec.cpus else max(cpus, 0), memory_mb - asked if asked else max(memory_mb, 0)

    def candidates(self, spec: Spec, at: float, until: float, *, reserved: bool = False) -> list[int]:
        """The GPUs that `spec` could have from `at` until `until`, ascending; those reserved for its user are first,
        and for a shared job the fullest. With `reserved` those that are reserved for others too.
        """
        ours, theirs = (set[int](), set[int]()) if reserved else self._reserved(spec.user, at, until)
        found = []
        for device in self._devices:
            if device.index in theirs or not device.suits(spec):
                continue
            held = [each for each in self._on[device.index] if at <= self.now or not each.is_over(at)]
            if not spec.shared:
                if not held:
                    found.append((device.index not in ours, 0, device.index))
                continue
            if any(each.shared_mb is None for each in held):
                continue
            given = sum(each.shared_mb or 0 for each in held)
            really = max(given, device.used_mb) if at <= self.now else given
            if really + (spec.gpu_memory_mb or 0) <= device.memory_mb:
                found.append((device.index not in ours, -given, device.index))
        return [index for *_, index in sorted(found)]

    def suitable(self, spec: Spec) -> int:
        """How many available GPUs there are of the kind asked for, whoever has them now."""
        return sum(device.suits(spec) for device in self._devices)

    def leaves_enough(self, user: str, gpus: Iterable[int], at: float, until: float) -> bool:
        """Whether the reservations by count are still met when `user` has these GPUs too from `at` until `until`."""
        counted = [each for each in self._overlapping(user, at, until) if each.gpu_list is None]
        taken = set(gpus)
        return not counted or all(
            self._is_met([each for each in counted if each.start <= when < each.end], user, taken, when)
            for when in {at, *(each.start for each in counted if each.start > at)}
        )

    def fits(self, spec: Spec, at: float, until: float) -> bool:
        """Whether `spec` could run from `at` until `until`."""
        if min(self.slack(spec, at)) < 0:
            return False
        if not spec.gpus:
            return True
        found = self.candidates(spec, at, until)
        return len(found) >= spec.gpus and self.leaves_enough(spec.user, found[: spec.gpus], at, until)

    def fits_beside(self, given: Hold, spec: Spec, at: float, until: float) -> bool:
        """Whether `spec` could still run then if another job had `given` from now."""
        self.take(replace(given, outlasts=True) if given.end == inf else given)
        found = self.fits(spec, at, until)
        self._holds.pop()
        for index in given.gpus:
            self._on[index].pop()
        self.cpus += given.cpus
        self.memory_mb += given.memory_mb
        return found

    def earliest(self, spec: Spec, duration: float) -> float | None:
        """When `spec` can begin at the earliest; `inf` when that is known of nobody before it, None: not as it is."""
        ends = {each.end for each in self._holds}
        times = sorted(ends | {each.end for each in self.windows if each.user != spec.user and each.end > self.now})

        def fits(at: float) -> bool:
            return self.fits(spec, at, at + duration)

        if not self.windows:  # more and more is free
            place = bisect_left(times, x=True, key=fits)
            return times[place] if place < len(times) else None
        return next((at for at in times if fits(at) and (at < inf or inf in ends)), None)

    def next_end(self) -> float | None:
        """When next something is given back, or a reservation ends."""
        times = (*(each.end for each in self._holds), *(each.end for each in self.windows))
        return min((at for at in times if at > self.now), default=None)

    def _overlapping(self, user: str, at: float, until: float) -> list[Window]:
        """The reservations of others in a span of time."""
        return [each for each in self.windows if each.user != user and each.start < until and each.end > at]

    def _reserved(self, user: str, at: float, until: float) -> tuple[set[int], set[int]]:
        """The indices that are reserved for `user` at the beginning of a span, and for others in all of it."""
        if not self.windows:
            return set(), set()
        ours = {
            index
            for each in self.windows
            if each.user == user and each.start <= at < each.end
            for index in each.gpu_list or ()
        }
        return ours, {index for each in self._overlapping(user, at, until) for index in each.gpu_list or ()}

    def _is_met(self, counted: list[Window], user: str, taken: set[int], when: float) -> bool:
        """Whether at `when` as many GPUs are left as are reserved by count and not used by those they are for."""
        holders = {index: {user} for index in taken}
        for index, held in self._on.items():
            for each in held:
                if when <= self.now or not each.is_over(when):
                    holders.setdefault(index, set()).add(each.user)
        wanted = 0
        for owner in {each.user for each in counted}:
            reserved = sum(each.gpus for each in counted if each.user == owner)
            wanted += max(0, reserved - sum(users == {owner} for users in holders.values()))
        listed = {index for each in self.windows if each.start <= when < each.end for index in each.gpu_list or ()}
        return sum(index not in holders and index not in listed for index in self._on) >= wanted
