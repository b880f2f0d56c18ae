"""What a running job uses at this moment, seen in /proc, as gflowd's own samples are."""

from __future__ import annotations

from gflowctl.view import jobs
from gflowd.core.job.model import Begun
from gflowd.effects.kernel import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflowctl.view.views import View
    from gflowd.core.job.model import Job

MIB = 1 << 20


class Sample:
    """`memory_mb`: the resident memory of its processes, what they share counted once; `cpu_seconds`; their `pids`."""

    __slots__ = ("cpu_seconds", "memory_mb", "pids")

    def __init__(self, memory_mb: float, cpu_seconds: float, pids: tuple[int, ...]) -> None:
        self.memory_mb = memory_mb
        self.cpu_seconds = cpu_seconds
        self.pids = pids


def sample(view: View, job: Job) -> Sample | None:
    """What it uses; None if it does not run, or nothing of it is seen."""
    phase = job.phase
    if not isinstance(phase, Begun) or phase.started is None:
        return None
    key = (job.id, jobs.attempt(job))
    leader = (phase.started.identity, processes.job_mark(view.context.state.root, *key))
    found = processes.members({key: leader}, view.observed.pid or 0)[key]
    if job.spec.uid is not None:  # what another user's process says of itself counts for nothing
        found = [each for each in found if processes.is_of(each, job.spec.uid)]
    if not found:
        return None
    memory = sum(map(processes.memory, found)) / MIB
    cpu = sum(each.cpu for each in found) / processes.TICKS
    return Sample(memory, cpu, tuple(sorted(each.pid for each in found)))
