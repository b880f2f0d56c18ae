"""What the GPU poller reports: the GPUs at its last poll, and the part that decides whether they may be allocated."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from gflowd.core.gpu import hidden_use

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gflowd.core.gpu.device import Gpu
    from gflowd.core.gpu.faults import Noted
    from gflowd.core.gpu.mean_load import Key, Load


@dataclass(frozen=True, slots=True)
class GpuReport:
    """All that is known about the GPUs. Times are monotonic; without arguments it is the report before the first poll.

    `begun`: when the last look began; `answered`: when the last look that was asked for began. `trouble`: what is wrong
    with the driver. `gpus` is None until a look has found them. `noted`: the lasting faults, for the next poller, since
    a lost GPU may take this one with it. `loads`: how busy the GPUs of each live attempt were. `logins`: why they can
    open GPUs though they are not to.
    """

    begun: float = -inf
    answered: float = -inf
    trouble: str | None = None
    gpus: tuple[Gpu, ...] | None = None
    noted: Noted = field(default_factory=dict)
    loads: Mapping[Key, Load] = field(default_factory=dict)
    logins: str | None = None


@dataclass(frozen=True, slots=True)
class GpuUser:
    """A process that computes on a GPU: `start` in clock ticks since boot, `job_id` None for a foreign one."""

    pid: int
    start: int
    job_id: int | None


@dataclass(frozen=True, slots=True)
class GpuCondition:
    """The part of one GPU that decides whether it may be allocated."""

    index: int
    uuid: str
    fault: str | None
    answers: bool
    ecc: int
    users: tuple[GpuUser, ...]
    hidden: int = 0  # of memory that no listed process has, in steps
    loaded: bool = False  # at work for no listed process


@dataclass(frozen=True, slots=True)
class GpuNews:
    """The deciding part of a report; as long as it is the same, the scheduler is not woken."""

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
    hidden = hidden_use.hidden_mb(gpu) // hidden_use.SLACK_MB
    return GpuCondition(gpu.index, gpu.uuid, gpu.fault, gpu.answers, gpu.ecc, users, hidden, hidden_use.is_loaded(gpu))
