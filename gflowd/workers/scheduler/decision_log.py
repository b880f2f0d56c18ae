"""Writes to the daemon's log, at level debug, what the scheduler decided and why. Decides nothing; costs nothing at
other levels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowd import log
from gflowd.core.job import reasons

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

    from gflowd.core.moment import Moment
    from gflowd.core.planning.backfill import Look, Plan
    from gflowd.core.queue.job_queue import JobQueue
    from gflowd.workers.scheduler.observed_writer import Status

MOST = 100  # jobs whose new reasons are logged at a time
_FOR_ROOM = (reasons.RESOURCES, reasons.RESERVATION, reasons.PRIORITY, reasons.GPU_UNAVAILABLE)
IDLE = "idle"


class DecisionLog:
    """Remembers what it has logged, so that each reason is logged once and not in each tick."""

    def __init__(self) -> None:
        self._log = log.get("scheduler")
        self._why: Mapping[str, str] = {}
        self._looks: Mapping[int, Look] = {}

    def looks(self, plan: Plan) -> None:
        """For which jobs the GPUs are looked at before they get them."""
        if not self._log.is_debug:
            return
        for job_id, look in plan.wants_gpu.items():
            if self._looks.get(job_id) != look:
                self._log.debug("looks at GPUs", job=job_id, gpus=look.gpus)
        self._looks = plan.wants_gpu

    def decided(self, plan: Plan, left_out: Collection[int], job_queue: JobQueue, now: Moment) -> None:
        """What starts and what can never start, of what is committed: nothing of the jobs `left_out`."""
        if not self._log.is_debug:
            return
        impossible = (found for found in plan.impossible if found[0].id not in left_out)
        for job, why in impossible:
            self._log.debug("never starts", job=job.id, why=why)
        starts = (found for found in plan.starts if found[0].id not in left_out)
        for job, gpu_ids in starts:
            spec, length = job.spec, job_queue.runtimes.length(job)
            self._log.debug(
                "chosen",
                job=job.id,
                user=spec.user,
                priority=spec.priority,
                waited=round(max(0.0, now.wall - job_queue.ready(job)), 3),
                length=length.seconds,
                length_from=length.source,
                gpus=gpu_ids,
                cpus=spec.cpus,
                memory_mb=spec.memory_mb,
            )

    def promised(self, job_id: int, before: Mapping[str, Any] | None, record: Mapping[str, Any] | None) -> None:
        """Logs promises that are new or over. One that moved is logged at a higher level."""
        if record is None:
            self._log.debug("promise over", job=job_id)
        elif before is None:
            self._log.debug("promised", job=job_id, at=record["at"])

    def waits(self, status: Status, job_queue: JobQueue) -> None:
        """Logs each job whose reason to wait has changed."""
        if not self._log.is_debug:
            return
        new = {job_id: why for job_id, why in status.reasons.items() if self._why.get(job_id) != why}
        self._why = status.reasons
        free = self._free(status)
        for job_id, why in list(new.items())[:MOST]:
            job = job_queue.queued.get(int(job_id))
            needs: dict[str, object] = {}
            if job is not None and why.partition(":")[0] in _FOR_ROOM:
                spec = job.spec
                needs = {"gpus": spec.gpus, "cpus": spec.cpus, "memory_mb": spec.memory_mb, **free}
                first = (status.line.get("order") or [job.id])[0]
                if first != job.id:
                    needs["first_in_line"] = first
            self._log.debug("waits", job=job_id, why=why, **needs)
        if len(new) > MOST:
            self._log.debug("more jobs wait for other reasons", jobs=len(new) - MOST)

    def _free(self, status: Status) -> dict[str, object]:
        cpus, memory_mb = status.capacity["cpus"], status.capacity["memory_mb"]
        return {
            "idle_gpus": sum(gpu["state"] == IDLE for gpu in status.gpus),
            "free_cpus": None if cpus is None else cpus - status.used["cpus"],
            "free_memory_mb": None if memory_mb is None else memory_mb - status.used["memory_mb"],
        }
