"""Which suspended jobs may go on, now that their users want them to: those whose CPUs are free, or were kept. Pure.

They come before all queued jobs, since they hold GPUs: while one waits, what it waits for counts as taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowd.core.job.model import Suspended

if TYPE_CHECKING:
    from collections.abc import Collection

    from gflowd.core.job.model import Job


def is_wanted(job: Job) -> bool:
    """Whether a suspended job is to go on."""
    return isinstance(job.phase, Suspended) and not job.is_to_stand_still


def claimed_cpus(job: Job) -> int:
    """The CPU slots that a live job has, or waits for in order to go on. No other job may have them."""
    return job.spec.cpus if is_wanted(job) else job.cpus


def may_go_on(live: Collection[Job], cpus: int) -> list[Job]:
    """Those of the `live` jobs that go on now, on a machine with this many CPU slots: the highest priority first, then
    the oldest. None overtakes another; one that needs more slots than there are goes on when no other job has any.
    """
    used = sum(job.cpus for job in live)
    found = []
    for job in sorted((job for job in live if is_wanted(job)), key=lambda job: (-job.spec.priority, job.id)):
        needed = job.spec.cpus - job.cpus
        if needed and used and used + needed > cpus:
            break
        used += needed
        found.append(job)
    return found
