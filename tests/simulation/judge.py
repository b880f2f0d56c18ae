"""What must be so after each tick of the scheduler, whatever it decided: nothing is given twice, phases move along the
allowed ways, an end is an end. The order of starts is judged in `order_rules`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ledger import ENDED, LIVE, QUEUED, RUNNING, STARTING, STOPPING, Ledger, Line, Seen
from startable import Machine
from verdicts import Verdicts
from virtual_clock import Clock
from virtual_gpus import Card
from virtual_jobs import Jobs

ALLOWED = {
    QUEUED: {STARTING, ENDED, QUEUED},
    STARTING: {RUNNING, STOPPING, ENDED},
    RUNNING: {STOPPING, ENDED},
    STOPPING: {ENDED},
    ENDED: {QUEUED, ENDED},
}
OVERTIME = 1.0  # seconds after its limit in which a job is found to be over it
GRAIN = 0.01  # seconds: a tick of the kernel


class Judge:
    """Follows the snapshot; `starts` are those of the last tick, in order."""

    def __init__(
        self, ledger: Ledger, machine: Machine, cards: list[Card], jobs: Jobs, clock: Clock, verdicts: Verdicts
    ) -> None:
        self.ledger = ledger
        self.starts: list[Seen] = []
        self.ended: dict[tuple[int, int], str] = {}
        self.changed: set[int] = set()  # jobs of which others said something
        self._machine = machine
        self._cards = cards
        self._jobs = jobs
        self._clock = clock
        self._verdicts = verdicts

    def read(self, ahead: Callable[[list[Line]], Any]) -> None:
        """Takes in what was written; `ahead` is told of it before."""
        self.starts.clear()
        self.changed.clear()
        lines = self.ledger.read()
        if not lines:
            return
        ahead(lines)
        for line in lines:
            self._take(line)
        self._check_room()

    def _take(self, line: Line) -> None:
        kind, key, value = line
        if kind == "phase" and value is not None:
            job = self.ledger.jobs.get(key)
            if job is not None:
                self._move(job, value)
        elif kind == "attempt" and value is not None:
            job_id = int(key.partition(".")[0])
            if self.ledger.jobs[job_id].phase != value:  # one that had ended before it was wanted again
                self._move(self.ledger.jobs[job_id], value)
            self.ledger.apply(("phase", job_id, value))
        elif kind in ("spec", "wish"):
            self._leave(key, value, kind)
            self.changed.add(key)
        self.ledger.apply(line)
        if kind == "phase" and value is not None and value["is"] == STARTING and key in self.ledger.jobs:
            self.starts.append(self.ledger.jobs[key])

    def _move(self, job: Seen, phase: dict[str, Any]) -> None:
        before, after = job.is_, phase["is"]
        number = int((phase.get("run") or phase).get("attempt", 1))
        self._check("phases", after in ALLOWED[before], f"job {job.id} went from {before} to {after}")
        follows = number == job.attempt + (before == ENDED and after == QUEUED)
        self._check("phases", follows, f"job {job.id}: attempt {number} came after {job.attempt} ({before}, {after})")
        if after == ENDED:
            self._end(job, phase, number)

    def _end(self, job: Seen, phase: dict[str, Any], number: int) -> None:
        key = job.id, number
        again = job.is_ == ENDED and bool(job.phase.get("lingers"))
        self._check("ends", key not in self.ended or again, f"attempt {key} ended twice")
        self.ended[key] = phase["state"]
        attempt = self._jobs.attempts.get(key)
        if attempt is None:
            was_begun = phase.get("run") is not None and phase["state"] != "cancelled"
            self._check("ends", not was_begun, f"attempt {key} is {phase['state']}, and nobody ever launched it")
            return
        gone = attempt.command is None and attempt.child is None
        self._check("ends", gone or bool(phase.get("lingers")), f"attempt {key} is {phase['state']}, and lives")
        if phase["state"] in ("finished", "failed") and attempt.record is not None:
            told = phase.get("exit_code") if phase.get("signal") is None else 128 + phase["signal"]
            real = attempt.record.status
            self._check("ends", told == real, f"attempt {key} ended with {real} and is said to have with {told}")
        if phase["state"] == "timeout":
            ran = phase["ended_at"] - phase["started_at"]
            self._check("ends", ran >= job.spec["time_limit"] - GRAIN, f"attempt {key} was stopped after {ran} s")

    def _leave(self, spec_id: int, value: Any, kind: str) -> None:
        """What leaves the snapshot has ended."""
        if kind == "spec" and value is None:
            ids = self.ledger.arrays.get(spec_id, [spec_id])
            alive = [each for each in ids if each in self.ledger.jobs and self.ledger.jobs[each].is_ != ENDED]
            self._check("ends", not alive, f"jobs {alive} left the snapshot")

    def _check_room(self) -> None:
        """Nothing is given twice, by the records and by what really lives."""
        holding = self.ledger.holding.values()
        on: dict[int, list[Seen]] = {}
        for job in holding:
            for index in job.gpu_ids:
                on.setdefault(index, []).append(job)
        for index, jobs in on.items():
            if len(jobs) > 1:
                ids = [each.id for each in jobs]
                self._check("given twice", all(each.shared for each in jobs), f"jobs {ids} all have GPU {index}")
                asked = sum(each.gpu_memory_mb for each in jobs)
                has = self._cards[index].memory_mb
                self._check("given twice", asked <= has, f"jobs {ids} have {asked} of {has} MiB of GPU {index}")
        live = [each for each in holding if each.is_ in LIVE]
        cpus, memory = sum(each.cpus for each in live), sum(each.memory_mb for each in live)
        self._check("given twice", cpus <= self._machine.cpus, f"{cpus} CPUs are given out of {self._machine.cpus}")
        self._check("given twice", memory <= self._machine.memory_mb, f"{memory} MiB of memory are given out")
        for job in self.starts:
            self._check_start(job)

    def _check_start(self, job: Seen) -> None:
        self._check("given twice", len(set(job.gpu_ids)) == job.gpus, f"job {job.id} was given {job.gpu_ids}")
        others = [each for each in self._jobs.living() if set(each.gpus).intersection(job.gpu_ids)]
        for each in others:
            known = self.ledger.holding.get(each.key[0])
            both_share = known is not None and known.shared and job.shared
            is_itself = each.key == (job.id, job.attempt)
            self._check(
                "given twice", both_share or is_itself, f"job {job.id} got GPUs on which {each.key} still lives"
            )

    def check_limits(self) -> None:
        """Who is over a time limit has been found out."""
        for job in self.ledger.holding.values():
            if job.is_ == RUNNING and job.limit is not None:
                over = self._clock.wall - job.phase["started"]["at"] - job.limit
                self._check("ends", over <= OVERTIME, f"job {job.id} is {over} s over its limit and runs on")

    def _check(self, rule: str, holds: bool, words: str) -> None:
        self._verdicts.check(rule, holds, self._clock.now, words)
