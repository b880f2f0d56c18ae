"""Which job a process belongs to: that of the nearest `job.sh`, or of the nearest mark, above it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gflowd.core.execution.procstat import Process


def job_of(lineage: Sequence[Process], marks: Sequence[int | None], leaders: Mapping[int, Process]) -> int | None:
    """The job of the first process of `lineage`, which goes on with its parent and so upwards; None for a foreign one.

    `marks` are the jobs whose mark each of them carries in its environment, `leaders` the living `job.sh` by job.
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
