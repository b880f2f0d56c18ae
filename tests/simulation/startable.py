"""Whether a waiting job may start, and whether there is room for it, judged by the snapshot's records alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from ledger import ENDED, LIVE, QUEUED, Ledger, Seen

from gflowd.core.gpu.device import Gpu

HELD, BEGIN, DEPENDENCY, GROUP, QUOTA = "JobHeldUser", "BeginTime", "Dependency", "Group", "Quota"
GOING, UNKNOWN = "going", "unknown"  # it waits for its end; what it waits for cannot be told here


def obstacle(job: Seen, ledger: Ledger, wall: float) -> str | None:
    """What beside resources keeps a job from starting; None: nothing does."""
    if job.is_ != QUEUED or "cancelled_at" in job.wish:
        return GOING
    if job.wish.get("held"):
        return HELD
    begin = begins_at(job)
    return BEGIN if begin is not None and begin > wall else _others_in_the_way(job, ledger)


def _others_in_the_way(job: Seen, ledger: Ledger) -> str | None:
    """Which other jobs keep a job from starting: those that it waits for, or those that run instead."""
    if any(each["kind"] in ("singleton", "aftercorr") for each in needs_of(job)):
        return UNKNOWN
    if not needs_are_met(job, ledger):
        return DEPENDENCY
    if job.array_id is not None and not group_has_room(job, ledger):
        return GROUP
    return None if quota_has_room(job, ledger) else QUOTA


def begins_at(job: Seen) -> float | None:
    """Before when it must not start."""
    asked = job.wish.get("begin_at", job.spec.get("begin_at"))
    times = [each for each in (asked, job.phase.get("begin_at")) if each is not None]
    return max(times, default=None)


def needs_of(job: Seen) -> list[dict[str, Any]]:
    """Its dependencies."""
    found: list[dict[str, Any]] = job.spec["needs"]["dependencies"] if "needs" in job.spec else []
    return found


def needs_are_met(job: Seen, ledger: Ledger) -> bool:
    """Whether it waits for no other job."""
    needs = needs_of(job)
    if not needs:
        return True
    met = [_is_met(each, ledger) for each in needs]
    return any(met) if job.spec["needs"].get("dependency_mode") == "any" else all(met)


def _is_met(each: dict[str, Any], ledger: Ledger) -> bool:
    job_id = each["id"]
    ids = [job_id] if each.get("element") else ledger.arrays.get(job_id, [job_id])
    found = [ledger.jobs.get(one) for one in ids]
    if each["kind"] == "after":
        return all(one is not None and ("started" in one.phase or one.is_ == ENDED) for one in found)
    ended = [one for one in found if one is not None and one.is_ == ENDED and not _comes_again(one)]
    if len(ended) < len(found):
        return False
    finished: list[bool] = [one.phase["state"] == "finished" for one in ended]
    wanted: dict[str, bool] = {"afterok": all(finished), "afternotok": not all(finished)}
    return wanted.get(each["kind"], True)


def _comes_again(job: Seen) -> bool:
    return bool(job.wish.get("requeued", 0) >= job.attempt or job.phase.get("lingers"))


def group_has_room(job: Seen, ledger: Ledger) -> bool:
    """Whether another of its array may run."""
    assert job.array_id is not None
    record = ledger.of("limit").get(job.array_id) or job.spec["family"]
    limit = record.get("max_concurrent")
    if limit is None:
        return True
    return bool(sum(each.array_id == job.array_id and each.is_ in LIVE for each in ledger.holding.values()) < limit)


def quota_has_room(job: Seen, ledger: Ledger) -> bool:
    """Whether its user's quota admits it."""
    quotas = ledger.of("quota")
    quota = {**quotas.get("default-user", {}), **quotas.get(f"user:{job.user}", {})} if quotas else {}
    most_jobs, most_gpus = quota.get("max_running_jobs"), quota.get("max_running_gpus")
    if most_jobs is None and most_gpus is None:
        return True
    own = [each for each in ledger.holding.values() if each.user == job.user and each.is_ in LIVE]
    if most_jobs is not None and len(own) >= most_jobs:
        return False
    return most_gpus is None or not job.gpus or sum(each.gpus for each in own) + job.gpus <= most_gpus


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to give out; memory in MiB."""

    gpus: int
    cpus: int
    memory_mb: int


class Room:
    """What is free beside `holding`, of the GPUs that a look found fit to be given away."""

    def __init__(self, machine: Machine, usable: Collection[Gpu], holding: Iterable[Seen]) -> None:
        self.holding = list(holding)
        taken = {index for each in self.holding for index in each.gpu_ids}
        live = [each for each in self.holding if each.is_ in LIVE]
        self.gpus = [gpu for gpu in usable if gpu.index not in taken]
        self.cpus = machine.cpus - sum(each.cpus for each in live)
        self.memory_mb = machine.memory_mb - sum(each.memory_mb for each in live)
        self.usable = usable

    def has(self, job: Seen) -> bool:
        """Whether a job could have what it asks for; of a shared one only whether there are free GPUs for it."""
        if job.cpus > max(self.cpus, 0) or job.memory_mb > max(self.memory_mb, 0):
            return False
        return sum(suits(job, gpu) for gpu in self.gpus) >= job.gpus


def suits(job: Seen, gpu: Gpu) -> bool:
    """Whether a GPU is one that the job asks for."""
    kind = job.spec.get("gpu_type") or ""
    return kind.casefold() in gpu.model.casefold() and job.gpu_memory_mb <= gpu.memory_mb - gpu.used_mb


def usable(seen: Iterable[Gpu] | None, holding: dict[int, Seen]) -> list[Gpu]:
    """The GPUs that nothing is wrong with and nobody is on but those who have them, or have had them until now."""
    return [
        gpu
        for gpu in seen or ()
        if gpu.fault is None and all(_is_well(gpu.index, process.job_id, holding) for process in gpu.processes)
    ]


def _is_well(index: int, job_id: int | None, holding: dict[int, Seen]) -> bool:
    if job_id is None:
        return False
    holder = holding.get(job_id)
    return holder is None or index in holder.gpu_ids
