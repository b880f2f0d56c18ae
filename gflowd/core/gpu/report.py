"""What the GPU poller reports: the GPUs as its last look found them, and what of that decides who may have one."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gflowd.core.gpu.device import Gpu
    from gflowd.core.gpu.faults import Noted


@dataclass(frozen=True, slots=True)
class GpuReport:
    """All that is known of the GPUs. Times are monotonic; without arguments it is the report before the first look.

    `begun`: when the last look began; `answered`: the same of the last look that was asked for. `trouble`: what is
    wrong with the driver. `gpus` is None until a look has told which there are. `noted`: the faults that last, for the
    next poller, since a GPU that is lost may take this one with it.
    """

    begun: float = -inf
    answered: float = -inf
    trouble: str | None = None
    gpus: tuple[Gpu, ...] | None = None
    noted: Noted = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GpuUser:
    """A process that computes on a GPU: `start` in clock ticks since boot, `job_id` None for a foreign one."""

    pid: int
    start: int
    job_id: int | None


@dataclass(frozen=True, slots=True)
class GpuCondition:
    """What of one GPU decides whether it may be given away."""

    index: int
    uuid: str
    fault: str | None
    answers: bool
    ecc: int
    users: tuple[GpuUser, ...]


@dataclass(frozen=True, slots=True)
class GpuNews:
    """What of a report decides; as long as it is the same, the scheduler need not be woken."""

    answered: float
    trouble: str | None
    gpus: tuple[GpuCondition, ...] | None


def news(report: GpuReport) -> GpuNews:
    """The part of a report that others act upon."""
    conditions = None if report.gpus is None else tuple(map(_condition, report.gpus))
    return GpuNews(report.answered, report.trouble, conditions)


def _condition(gpu: Gpu) -> GpuCondition:
    computing = (process for process in gpu.processes if not process.graphics)
    users = tuple(GpuUser(process.pid, process.start, process.job_id) for process in computing)
    return GpuCondition(gpu.index, gpu.uuid, gpu.fault, gpu.answers, gpu.ecc, users)
