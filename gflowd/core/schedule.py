"""Which queued jobs start now, on which GPUs, and what holds each of the others. Pure: state in, plan out.

Order: priority, higher first, then submission. A job that does not fit is passed over; those behind it may start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowd.core import memory, reasons

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gflowd.core.model import Job, Spec


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the machine has: `gpus` their indices, or None while nobody has looked; memory in MiB."""

    gpus: tuple[int, ...] | None
    cpus: int
    memory_mb: int


@dataclass(slots=True)
class Free:
    """What is not given out: `gpus` ascending. `gpus_are_fresh`: somebody has just looked, they may be given away."""

    gpus: list[int]
    cpus: int
    memory_mb: int
    gpus_are_fresh: bool

    def fits(self, spec: Spec) -> bool:
        """Whether a job could start now, as far as the books say.

        What is left may be below zero, when the configuration shrank: who asks for none of it fits all the same.
        """
        cpus, memory_mb = max(self.cpus, 0), max(self.memory_mb, 0)
        return spec.cpus <= cpus and (spec.memory_mb or 0) <= memory_mb and spec.gpus <= len(self.gpus)

    def take(self, spec: Spec) -> tuple[int, ...]:
        """Gives a fitting job what it asks for; its GPUs, lowest index first."""
        self.cpus -= spec.cpus
        self.memory_mb -= spec.memory_mb or 0
        given, self.gpus = self.gpus[: spec.gpus], self.gpus[spec.gpus :]
        return tuple(given)


@dataclass(frozen=True, slots=True)
class Plan:
    """`starts`: job and GPUs, in order; `reasons`: of the jobs looked at that stay; `impossible`: why never.

    `wants_gpu`: a job would start, were its GPUs looked at first.
    """

    starts: list[tuple[Job, tuple[int, ...]]]
    reasons: dict[int, str]
    impossible: list[tuple[Job, str]]
    wants_gpu: bool


def free(
    capacity: Capacity,
    live: Iterable[Job],
    allowed: Collection[int] | None,
    *,
    gpus_are_fresh: bool,
    lingering: Iterable[Job] = (),
) -> Free:
    """What `capacity` has left beside the live jobs; of the GPUs only those `allowed` (None: all), and none that an
    ended job's processes still have.
    """
    cpus, memory_mb, given = capacity.cpus, capacity.memory_mb, set[int]()
    for job in live:
        cpus -= job.spec.cpus
        memory_mb -= job.spec.memory_mb or 0
        given.update(job.run.gpu_ids if job.run else ())
    for job in lingering:
        given.update(job.run.gpu_ids if job.run else ())
    gpus = [index for index in capacity.gpus or () if index not in given and (allowed is None or index in allowed)]
    return Free(gpus, cpus, memory_mb, gpus_are_fresh)


def why_impossible(spec: Spec, capacity: Capacity) -> str | None:
    """Why the machine can never run this, or None when it can."""
    if capacity.gpus is not None and spec.gpus > len(capacity.gpus):
        return f"{spec.gpus} GPUs asked for, the machine has {len(capacity.gpus)}"
    if spec.cpus > capacity.cpus:
        return f"{spec.cpus} CPUs asked for, the machine has {capacity.cpus}"
    if (spec.memory_mb or 0) > capacity.memory_mb:
        return (
            f"{memory.show(spec.memory_mb or 0)} of memory asked for, the machine has {memory.show(capacity.memory_mb)}"
        )
    return None


def order(job: Job) -> tuple[float, int, int]:
    """The sort key of the queue: what was put to the front last, priority, submission."""
    return -(job.wish.top_at or 0.0), -job.spec.priority, job.id


def plan(
    queue: Iterable[Job], capacity: Capacity, left: Free, wall: float, depth: int, closed: set[int] | None = None
) -> Plan:
    """Decides on `queue`, which is in order and holds no job that is held or waits for another. `left` is used up.

    The ids of arrays of which no further job can start, all asking for the same, are put into `closed`.

    Ends with the `depth`th job that waits for resources: the rest is looked at another time.
    """
    made = Plan([], {}, [], wants_gpu=False)
    wants_gpu, waiting = False, 0
    for job in queue:
        if waiting >= depth:
            break
        impossible = why_impossible(job.spec, capacity)
        reason = _reason(job, capacity, left)
        if impossible is not None:
            made.impossible.append((job, impossible))
        elif job.begin_at is not None and job.begin_at > wall:
            continue  # gflowctl sees that for itself
        elif reason is not None:
            waiting += 1
            made.reasons[job.id] = reason
            if closed is not None and job.array_id is not None:
                closed.add(job.array_id)
        elif job.spec.gpus and not left.gpus_are_fresh:
            left.take(job.spec)  # kept for it: nobody behind it may have them meanwhile
            wants_gpu = True
            made.reasons[job.id] = reasons.RESOURCES
        else:
            made.starts.append((job, left.take(job.spec)))
    return Plan(made.starts, made.reasons, made.impossible, wants_gpu)


def _reason(job: Job, capacity: Capacity, left: Free) -> str | None:
    """What the job lacks, or None."""
    if job.spec.gpus and capacity.gpus is None:
        return reasons.GPU_UNAVAILABLE
    return None if left.fits(job.spec) else reasons.RESOURCES
