"""What the events told so far, in short: of each job the attempt and how far it had come; `machine` has what concerns
no job. Mutable; pure.

It is folded from the events themselves, so it can never say that something was told which was not. A checkpoint is all
of it in a form that stays small: the ids of jobs that are alike are ranges.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from gflowd.core.events import kinds, told_machine_events
from gflowd.core.events.told_machine_events import ToldMachineEvents
from gflowd.core.syntax import ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

QUEUED, HELD, STARTED, SUSPENDED, STOPPING, ENDED = "qhspte"
UNSTARTED = "u"  # it is being ended, and nobody has seen yet whether its command began
NOT_STARTED = (QUEUED, HELD, UNSTARTED)
_STAGE_OF = {
    kinds.JOB_HELD: HELD, kinds.JOB_RELEASED: QUEUED, kinds.JOB_REQUEUED: QUEUED, kinds.JOB_STARTED: STARTED,
    kinds.JOB_SUSPENDED: SUSPENDED, kinds.JOB_UNSUSPENDED: STARTED, kinds.JOB_STOPPING: STOPPING,
    kinds.JOB_ENDED: ENDED,
}  # fmt: skip


class Mark(NamedTuple):
    """How far a job has come: its attempt, one of the stages, and the suspensions of the attempt that are over."""

    attempt: int
    stage: str
    pauses: int = 0


@lru_cache(maxsize=1024)
def mark(attempt: int, stage: str, pauses: int = 0) -> Mark:
    """A mark; jobs share equal ones."""
    return Mark(attempt, stage, pauses)


class Submitted(NamedTuple):
    """What was told of a spec: its digest, None if that no longer matters; the stage in which its jobs began; and how
    many they are.
    """

    digest: int | None
    stage: str
    size: int = 1


class ToldEvents:
    """`specs` by the id of a job or array; `jobs` only those that have come further than the submission says."""

    def __init__(self) -> None:
        self.specs: dict[int, Submitted] = {}
        self.jobs: dict[int, Mark] = {}
        self.queued_again: dict[int, float] = {}  # the jobs that wait to run again, and since when
        self.machine = ToldMachineEvents()

    def of_job(self, job_id: int, spec_id: int) -> Mark:
        """The mark of a job whose submission was told."""
        return self.jobs.get(job_id) or mark(1, self.specs[spec_id].stage)

    def take(self, event: Mapping[str, Any]) -> None:
        """An event has been told. Raises KeyError, TypeError or ValueError for one that is none."""
        kind = event["kind"]
        if kind == kinds.JOB_SUBMITTED:
            stage = HELD if event["state"] == "held" else QUEUED
            self.specs[event["job"]] = Submitted(event["digest"], stage, event["count"])
        elif kind == kinds.JOB_UPDATED:
            before = self.specs.get(event["job"], Submitted(None, QUEUED))
            self.specs[event["job"]] = before._replace(digest=event["digest"])
        elif kind in _STAGE_OF:
            pauses = event.get("suspensions", 0) - (kind == kinds.JOB_SUSPENDED)
            stage = _STAGE_OF[kind]
            if kind == kinds.JOB_STOPPING and not self._has_started(event["job"], event["attempt"]):
                stage = UNSTARTED
            self.jobs[event["job"]] = mark(event["attempt"], stage, max(0, pauses))
            if kind == kinds.JOB_REQUEUED:
                self.queued_again[event["job"]] = event["at"]
            elif kind not in (kinds.JOB_HELD, kinds.JOB_RELEASED):
                self.queued_again.pop(event["job"], None)
        else:
            self.machine.take(event)

    def _has_started(self, job_id: int, attempt: int) -> bool:
        reached = self.jobs.get(job_id)
        return reached is not None and reached.attempt == attempt and reached.stage not in NOT_STARTED

    def forget(self, specs: Iterable[int], jobs: Iterable[int]) -> None:
        """These are in the history."""
        for spec_id in specs:
            self.specs.pop(spec_id, None)
        for job_id in jobs:
            self.jobs.pop(job_id, None)
            self.queued_again.pop(job_id, None)

    def checkpoint(self) -> dict[str, Any]:
        """All of it as JSON."""
        over: dict[str, list[int]] = {}
        specs = []
        for spec_id, found in sorted(self.specs.items()):
            if found.digest is None or self._is_over(spec_id, found.size):
                over.setdefault(found.stage, []).append(spec_id)
            else:
                specs.append([spec_id, *found])
        jobs: dict[Mark, list[int]] = {}
        for job_id, reached in sorted(self.jobs.items()):
            jobs.setdefault(reached, []).append(job_id)
        return {
            "specs": specs,
            "over": [[stage, _ranges(ids)] for stage, ids in over.items()],
            "jobs": [[*reached, _ranges(ids)] for reached, ids in jobs.items()],
            "again": [[job_id, since] for job_id, since in self.queued_again.items()],
            "machine": self.machine.checkpoint(),
        }

    def _is_over(self, spec_id: int, size: int) -> bool:
        """Whether all jobs of a spec have ended, so that a change of it need not be noticed."""
        return all(
            job_id in self.jobs and self.jobs[job_id].stage == ENDED for job_id in range(spec_id, spec_id + size)
        )


def restored(raw: Mapping[str, Any]) -> ToldEvents:
    """What a checkpoint says. Raises KeyError, TypeError or ValueError for anything else."""
    told = ToldEvents()
    for spec_id, digest, stage, size in raw["specs"]:
        told.specs[spec_id] = Submitted(digest, stage, size)
    for stage, ids in raw["over"]:
        told.specs.update(dict.fromkeys(_ids(ids), Submitted(None, stage)))
    for attempt, stage, pauses, ids in raw["jobs"]:
        told.jobs.update(dict.fromkeys(_ids(ids), mark(attempt, stage, pauses)))
    told.queued_again = dict(raw.get("again", ()))
    told.machine = told_machine_events.restored(raw.get("machine", {}))
    return told


def _ranges(ids: Iterable[int]) -> list[list[int]]:
    """Ascending ids as ranges, each its first, its last and its step."""
    return [list(each) for each in ranges.compact(ids)]


def _ids(found: Iterable[Sequence[int]]) -> list[int]:
    return [each for first, last, step in ranges.from_json(found) for each in range(first, last + 1, step)]
