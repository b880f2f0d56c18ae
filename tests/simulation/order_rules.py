"""Who may start before whom. Judged after each tick of the scheduler, from the records as they were and as they are.

The rules hold whatever the order within a priority is, as long as it prefers who has waited longer among equals.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

from inside import Told
from ledger import QUEUED, Ledger, Line, Seen
from startable import Machine, Room, obstacle, usable
from verdicts import Verdicts
from virtual_clock import EPOCH, Clock

from gflowd.core.gpu.device import Gpu

LATER = 1.0  # seconds by which a promise may move without a word
SILENT = 130.0  # seconds after its promise in which a job starts, or is told otherwise: a GPU may be back within 120


@dataclass(frozen=True, slots=True)
class Before:
    """How things stood when the tick began: the jobs that could start, as far as they matter to its starts."""

    promised: tuple[Seen, ...]
    highest: tuple[Seen, ...]
    alike: tuple[tuple[Seen, Seen], ...]  # one that waits and a start that is like it in all, but came later


class OrderRules:
    """`told`: the promise that each waiting job was last given; `since`: when it was first given one, wall time."""

    def __init__(self, ledger: Ledger, machine: Machine, clock: Clock, verdicts: Verdicts) -> None:
        self.told: dict[int, Told] = {}
        self.since: dict[int, float] = {}
        self._ledger = ledger
        self._machine = machine
        self._clock = clock
        self._verdicts = verdicts
        self._before = Before((), (), ())

    def ahead(self, lines: list[Line]) -> None:
        """Notes who could start before `lines` came, where there are starts among them."""
        ledger, wall = self._ledger, self._clock.wall
        starts = [
            ledger.jobs[key] for kind, key, value in lines if kind == "phase" and value and value["is"] == "starting"
        ]
        changed = {key for kind, key, _ in lines if kind in ("spec", "wish")}
        self._before = Before((), (), ())
        if not starts or has_reservation(ledger, wall):
            return
        candidates = [
            each
            for each in ledger.waiting.values()
            if each.id not in changed and each.array_id not in changed and obstacle(each, ledger, wall) is None
        ]
        top = min((each.band for each in candidates), default=None)
        self._before = Before(
            tuple(each for each in candidates if each.id in self.told and each.band == top),
            tuple(each for each in candidates if each.band == top),
            tuple((each, start) for start in starts for each in candidates if _is_before(each, start)),
        )

    def check(self, starts: list[Seen], seen: tuple[Gpu, ...] | None, told: dict[int, Told]) -> None:
        """Judges `starts`, given what the last look found, and what is promised now."""
        for waiting, start in self._before.alike:
            words = f"job {start.id} started before job {waiting.id}, which is like it in all and came earlier"
            self._check("overtaken", waiting.is_ != QUEUED, words)
        if not starts:
            return
        fit = usable(seen, self._ledger.holding)
        now = Room(self._machine, fit, self._ledger.holding.values())
        for job in self._before.promised:
            self._check_promised(job, starts, now)
        bands = {self._ledger.waiting[job_id].band for job_id in told if job_id in self._ledger.waiting}
        bands.update(each.band for each in self._before.promised)
        for job in self._before.highest:
            if job.band in bands:  # it may wait for the sake of one that has a promise
                continue
            if obstacle(job, self._ledger, self._clock.wall) is not None:  # others of its array or user have started
                continue
            self._check_place(
                job, [each for each in starts if each.band > job.band], now, "is of a higher priority and waits for"
            )

    def _check_promised(self, job: Seen, starts: list[Seen], now: Room) -> None:
        """None of `starts` makes a job start later than promised; where nobody knew when, none that came after the
        promise takes its place. Who was promised earlier may do either.
        """
        since, told = self.since[job.id], self.told[job.id]
        lower = [each for each in starts if each.band >= job.band and self.since.get(each.id, inf) > since]
        if told.at is None or not told.certain:
            later = [each for each in lower if each.spec["submitted_at"] > since]
            self._check_place(job, later, now, "was promised")
            return
        then = [each for each in now.holding if ends_at(each, self._clock.wall) > told.at + SILENT]
        room = Room(self._machine, now.usable, then)
        self._check_place(
            job, [each for each in lower if each in then], room, f"was promised at {told.at - EPOCH:.0f} s"
        )

    def _check_place(self, job: Seen, lower: list[Seen], now: Room, words: str) -> None:
        """Of jobs with GPUs: those are given when somebody has just looked, so nobody else only waits for a look."""
        lower = [each for each in lower if each.gpus]
        if job.is_ != QUEUED or not job.gpus or not lower or now.has(job):
            return
        without = Room(self._machine, now.usable, [each for each in now.holding if each not in lower])
        ids = ", ".join(str(each.id) for each in lower)
        said = f"job {ids} took what job {job.id} {words} ({job.gpus} GPUs, {job.cpus} CPUs, {job.memory_mb} MiB)"
        self._check("overtaken", not without.has(job), f"{said}; it could have started")

    def note_promises(self, promises: dict[int, Told]) -> None:
        """Compares what is promised now with what was before."""
        for job_id in [each for each in self.told if each not in self._ledger.waiting]:
            del self.told[job_id], self.since[job_id]
        for job_id, told in promises.items():
            before = self.told.get(job_id)
            if job_id not in self._ledger.waiting:
                continue
            if before is not None and before.certain and _is_later(told, before):
                is_said = bool(told.cause) and (told.cause, told.was) != (before.cause, before.was)
                later = "at an unknown time" if told.at is None else f"{told.at - (before.at or 0):.1f} s later"
                self._check("promises", is_said, f"job {job_id} was promised a start, and now {later}, without a cause")
            self.told[job_id] = told
            self.since.setdefault(job_id, self._clock.wall)
        for job_id, told in self.told.items():
            if told.certain and told.at is not None and self._clock.wall > told.at + SILENT:
                job = self._ledger.waiting[job_id]
                is_free = obstacle(job, self._ledger, self._clock.wall) is None
                self._check("promises", not is_free, f"job {job_id} waits, though its start was promised")

    def forget(self, job_ids: set[int]) -> None:
        """Their users have changed what they want; what was promised is void."""
        for job_id in job_ids:
            for each in self._ledger.arrays.get(job_id, (job_id,)):
                self.told.pop(each, None)
                self.since.pop(each, None)

    def _check(self, rule: str, holds: bool, words: str) -> None:
        self._verdicts.check(rule, holds, self._clock.now, words)


def ends_at(job: Seen, wall: float) -> float:
    """When a job that has resources has ended, by its limit."""
    if job.limit is None:
        return inf
    started = job.phase.get("started")
    return (wall if started is None else float(started["at"])) + job.limit


def _is_later(told: Told, before: Told) -> bool:
    if told.at is None or before.at is None:
        return before.at is not None
    return told.at > before.at + LATER


def _is_before(job: Seen, start: Seen) -> bool:
    """Whether a start is like a job that waits, in all that order goes by, and came later."""
    if job.attempt > start.attempt:  # it was queued again, and waits since then
        return False
    if start.id <= job.id or start.touched or job.touched or start.band != job.band or start.user != job.user:
        return False
    alike = start.shape == job.shape and start.array_id == job.array_id
    return alike and not any(each.spec.get(field) for each in (start, job) for field in ("needs", "begin_at"))


def has_reservation(ledger: Ledger, wall: float) -> bool:
    """Whether a reservation may be in somebody's way."""
    return any(has_window(each, wall) for each in ledger.of("reservation").values())


def has_window(reservation: dict[str, Any], wall: float) -> bool:
    """Whether a reservation is not over."""
    if "cancelled_at" in reservation:
        return False
    return reservation.get("repeat") is not None or reservation["start"] + reservation["duration"] > wall
