"""The state of each GPU, and which may be allocated. Derived from what a poll saw, what is allocated and what people
have ordered. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gflowd.core.gpu.admin_state import AdminState
    from gflowd.core.gpu.device import Gpu, GpuProcess
    from gflowd.core.job.model import Job, Run

IDLE, BUSY, SHARED, UNMANAGED = "idle", "busy", "shared", "unmanaged"
RESERVED, RESTRICTED, DRAINED, FAULTY = "reserved", "restricted", "drained", "faulty"
ELSEWHERE = "allocated by another gflow daemon"
CLAIMED = "claimed by "  # how the cause of a GPU begins that is claimed by a user whose claims do not count

Held = dict[int, list[int]]  # the jobs that hold a GPU, by its index


@dataclass(frozen=True, slots=True)
class Picture:
    """The GPUs as shown to users; `gpus` is None while they are unknown, `trouble` is the driver's error."""

    gpus: tuple[Gpu, ...] | None = None
    held: Held = field(default_factory=dict)
    states: Mapping[int, tuple[str, str | None]] = field(default_factory=dict)
    trouble: str | None = None


def places(run: Run, gpus: Iterable[Gpu]) -> tuple[int, ...]:
    """The indices of a run's GPUs. GPUs are identified by UUID, so the current indices of these count.

    A GPU that has since been divided into MIG devices is all of these; a destroyed MIG device has no index.
    """
    now: dict[str, list[int]] = {}
    for gpu in gpus if run.gpu_uuids else ():
        for uuid in {gpu.uuid, gpu.card}:
            now.setdefault(uuid, []).append(gpu.index)
    return tuple(index for uuid in run.gpu_uuids for index in now.get(uuid, ())) if now else run.gpu_ids


def held(jobs: Iterable[Job], gpus: Sequence[Gpu]) -> Held:
    """Who holds which GPU."""
    found: Held = {}
    for job in jobs:
        for index in places(job.run, gpus) if job.run else ():
            found.setdefault(index, []).append(job.id)
    return found


def intruders(gpu: Gpu, admin: AdminState, holders: Collection[int], live: Collection[int]) -> list[GpuProcess]:
    """The processes on a GPU that keep it from being allocated: foreign ones that are not ignored, and those
    of a live job that was not given it. A process of a job that has ended since does not count; the next poll tells.
    Those that only draw do not count either; their memory counts as used.
    """
    return [
        process
        for process in gpu.processes
        if not process.graphics
        and (
            (process.job_id is None and (gpu.uuid, process.pid, process.start) not in admin.ignored)
            or (process.job_id in live and process.job_id not in holders)
        )
    ]


def available(
    gpus: Iterable[Gpu], admin: AdminState, held: Held, live: Collection[int], taken: Collection[str] = ()
) -> set[int]:
    """The GPUs that may be allocated, unless they are held. `taken`: the UUIDs of those that others use."""
    return {
        gpu.index
        for gpu in gpus
        if gpu.fault is None
        and gpu.uuid not in taken
        and admin.drained_as(gpu) is None
        and (admin.allowed is None or gpu.index in admin.allowed)
        and not intruders(gpu, admin, held.get(gpu.index, ()), live)
    }


def states(
    gpus: Iterable[Gpu],
    admin: AdminState,
    held: Held,
    live: Collection[int],
    *,
    shared: Collection[int] = (),
    reserved: Mapping[int, str] | None = None,
    taken: Mapping[str, str] | None = None,
) -> dict[int, tuple[str, str | None]]:
    """The state of each GPU by index, with its cause. `shared` are held by shared jobs, `reserved` says for whom,
    `taken` what shows that others use one, by its UUID.
    """
    return {
        gpu.index: _state(gpu, admin, held.get(gpu.index, []), live, shared, reserved or {}, taken or {})
        for gpu in gpus
    }


def _state(
    gpu: Gpu,
    admin: AdminState,
    holders: list[int],
    live: Collection[int],
    shared: Collection[int],
    reserved: Mapping[int, str],
    taken: Mapping[str, str],
) -> tuple[str, str | None]:
    if gpu.fault is not None:
        return FAULTY, gpu.fault
    why = _closed(gpu, admin, intruders(gpu, admin, holders, live), taken)
    if holders:
        return SHARED if gpu.index in shared else BUSY, why and ": ".join(filter(None, why))
    if why is not None:
        return why
    if gpu.index in reserved:
        return RESERVED, reserved[gpu.index]
    return IDLE, None


def _closed(
    gpu: Gpu, admin: AdminState, found: list[GpuProcess], taken: Mapping[str, str]
) -> tuple[str, str | None] | None:
    """Why a GPU must not be allocated, apart from jobs that hold it."""
    if found:
        return UNMANAGED, ", ".join(map(_named, found))
    if gpu.uuid in taken:
        return UNMANAGED, taken[gpu.uuid]
    if (uuid := admin.drained_as(gpu)) is not None:
        return DRAINED, admin.drained[uuid]
    if admin.allowed is not None and gpu.index not in admin.allowed:
        return RESTRICTED, None
    return None


def claimed_by(user: str) -> str:
    """The cause of a GPU that a user says to have allocated whose claims do not count."""
    return f"{CLAIMED}{user}, whose claims are not honoured"


def _named(process: GpuProcess) -> str:
    if process.job_id is not None:
        return f"pid {process.pid} of job {process.job_id}, which was not given this GPU"
    return f"pid {process.pid} of {process.user}"
