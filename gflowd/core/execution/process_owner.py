"""Which job a process belongs to: that of the nearest `job.sh`, or of the nearest mark, above it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gflowd.core.execution.procstat import Process


def job_of(lineage: Sequence[Process], marks: Sequence[int | None], leaders: Mapping[int, Process]) -> int | None:
    """The job of a process; None if it is foreign. `lineage` is the process, its parent, and so on upwards.

    `marks`: for each of them, the job whose mark its environment carries; `leaders`: the living `job.sh` of each job.
    """
    by_pid = {leader.pid: (job_id, leader.start) for job_id, leader in leaders.items()}
    for process, mark in zip(lineage, marks, strict=True):
        for pid in (process.pid, process.session):
            job_id, begun = by_pid.get(pid, (None, 0))
            if job_id is not None and process.start >= begun:
                return job_id
        if mark is not None:
            return mark
    return None
