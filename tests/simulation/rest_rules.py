"""What must be so while nothing is on its way: who could run runs, and who waits is told the true reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inside import Told
from ledger import QUEUED, Ledger, Seen
from order_rules import has_window
from startable import (
    DEPENDENCY,
    GOING,
    GROUP,
    HELD,
    QUOTA,
    UNKNOWN,
    Machine,
    Room,
    needs_are_met,
    obstacle,
    suits,
    usable,
)
from verdicts import Verdicts
from virtual_clock import Clock

from gflowd.core.gpu.device import Gpu

LOOK = 5.0  # seconds that a look at GPUs may take, for which the planner leaves room


class RestRules:
    """Judges the queue at rest."""

    def __init__(self, ledger: Ledger, machine: Machine, clock: Clock, verdicts: Verdicts) -> None:
        self._ledger = ledger
        self._machine = machine
        self._clock = clock
        self._verdicts = verdicts

    def check(self, seen: tuple[Gpu, ...] | None, told: dict[int, Told], observed: dict[str, Any]) -> None:
        """`seen`: the last look; `told`: whom a start is promised; `observed`: what gflowctl is shown."""
        ledger = self._ledger
        fit = usable(seen, ledger.holding)
        room = Room(self._machine, fit, ledger.holding.values())
        waiting = {each.id: obstacle(each, ledger, self._clock.wall) for each in ledger.waiting.values()}
        ready = [ledger.jobs[job_id] for job_id, why in waiting.items() if why is None]
        bands = {ledger.jobs[job_id].band for job_id, why in waiting.items() if why in (None, UNKNOWN)}
        if "drain" not in ledger.of("setting") and not self._is_reserved() and len(bands) <= 1:
            self._nothing_idle(ready, room, told)
        self._reasons_true(observed.get("reasons", {}), waiting, room, seen, told)

    def _nothing_idle(self, ready: list[Seen], room: Room, told: dict[int, Told]) -> None:
        """With one priority and no promise everybody starts who can; beside promises, who ends before them all."""
        if not all(each.certain and each.at for each in told.values()):
            return
        if told and any(each.limit is None for each in self._ledger.holding.values()):
            return  # they may start before that, which is expected, and not delayed either
        soonest = min((each.at or 0.0 for each in told.values()), default=None)
        shapes = {each.shape: each for each in reversed(ready)}
        for job in shapes.values():
            delays = soonest is not None and (job.limit is None or self._clock.wall + job.limit + LOOK >= soonest)
            if not delays and not job.shared:
                words = f"job {job.id} ({job.gpus} GPUs, {job.cpus} CPUs) waits beside what it asks for"
                self._check("idle", not room.has(job), words)

    def _reasons_true(
        self,
        reasons: dict[str, str],
        waiting: dict[int, str | None],
        room: Room,
        seen: tuple[Gpu, ...] | None,
        told: dict[int, Told],
    ) -> None:
        others = len(waiting) > 1 or bool(told)
        true: dict[str, Callable[[Seen, str | None], bool]] = {
            "Resources": lambda job, why: why is None and (job.shared or not room.has(job)),
            "Quota": lambda job, why: why == QUOTA,
            "Dependency": lambda job, why: why == DEPENDENCY or (why == HELD and not needs_are_met(job, self._ledger)),
            "Group": lambda job, why: why == GROUP or self._follows_another(job),
            "Priority": lambda job, why: why is None and others,
            "Reservation": lambda job, why: why is None and self._is_reserved(),
            "Drained": lambda job, why: "drain" in self._ledger.of("setting"),
            "GpuUnavailable": lambda job, why: seen is None or self._lacks(job, room),
        }
        for name, reason in reasons.items():
            job = self._ledger.jobs.get(int(name))
            if job is None or job.is_ != QUEUED or reason not in true or waiting[job.id] in (GOING, UNKNOWN):
                continue
            why = waiting[job.id]
            self._check(
                "reasons", true[reason](job, why), f"job {job.id} is said to wait for {reason}; it is {why or 'free'}"
            )

    def _follows_another(self, job: Seen) -> bool:
        """Whether one of its array is before it in the queue, and may take the last place that the array has."""
        return any(each.array_id == job.array_id and each.id < job.id for each in self._ledger.waiting.values())

    def _lacks(self, job: Seen, room: Room) -> bool:
        return sum(suits(job, gpu) for gpu in room.usable) < job.gpus

    def _is_reserved(self) -> bool:
        return any(has_window(each, self._clock.wall) for each in self._ledger.of("reservation").values())

    def _check(self, rule: str, holds: bool, words: str) -> None:
        self._verdicts.check(rule, holds, self._clock.now, words)
