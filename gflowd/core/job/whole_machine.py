"""Jobs that ask for all of the machine's CPUs or memory (`--exclusive`, `--memory all`): how much that is."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflowd.core.job.model import Spec


def resolved(spec: Spec, cpus: int, memory_mb: int) -> Spec:
    """`spec` on a machine with `cpus` and `memory_mb`. One that asks for more CPUs than there are by number, too, keeps
    that number, with which it is refused.
    """
    if spec.exclusive:
        tasks = spec.tasks
        asked = 1 if tasks is None else (tasks.count or 1) * (tasks.cpus or 1)
        spec = spec if spec.cpus == max(asked, cpus) else spec.replace(cpus=max(asked, cpus))
    if spec.all_memory and spec.memory_mb != memory_mb:
        spec = spec.replace(memory_mb=memory_mb)
    return spec
