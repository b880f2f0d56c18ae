"""Steps of one job beside each other: who has which CPUs and GPUs, who waits, and who is next. Pure.

A step has a number, in the order of start. A later step may start before an earlier one that waits only if it takes
nothing that the earlier one needs.
"""

from __future__ import annotations

from gflowd.core.errors import Refused
from gflowd.core.job.value_base import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Final

    from gflowd.core.slurm.step.srun_options import Step

RUN, WAIT = "run", "wait"
BUSY = "Requested nodes are busy"
NO_PARENT = "-"
CPUS, GPUS = "GFLOW_JOB_CPUS", "GFLOW_JOB_GPUS"  # of the job; GPUs as CUDA_VISIBLE_DEVICES names them
STEP = "GFLOW_JOB_STEP"  # in a step: its number, CPUs and GPUs


class Pool(Value):
    """What steps share: the CPUs and GPUs of the job, or of the step in which they are started."""

    __slots__ = ("cpus", "gpus")

    def __init__(self, cpus: int, gpus: Sequence[str]) -> None:
        self.cpus: Final = cpus
        self.gpus: Final = tuple(gpus)  # by the names that CUDA_VISIBLE_DEVICES has for them


class Need(Value):
    """What a step takes. With `overlap` it takes nothing from others: it uses what there is."""

    __slots__ = ("cpus", "cpus_of_task", "gpus", "overlap", "tasks")

    def __init__(self, tasks: int, cpus_of_task: int, cpus: int, gpus: int, *, overlap: bool = False) -> None:
        self.tasks: Final = tasks
        self.cpus_of_task: Final = cpus_of_task
        self.cpus: Final = cpus  # that are counted
        self.gpus: Final = gpus
        self.overlap: Final = overlap


class Entry(Value):
    """A step in the ledger: its number (of its turn while it waits), and where it runs. `processes`: pid and start of
    those that it lives with. `gpus` are places in the pool of `parent`, the step that it was started in.
    """

    __slots__ = ("cpus", "gpus", "kind", "number", "parent", "processes", "wanted")

    def __init__(
        self,
        kind: str,
        number: int,
        parent: str,
        cpus: int,
        wanted: int,
        gpus: Sequence[int],
        processes: Sequence[tuple[int, int]],
    ) -> None:
        self.kind: Final = kind
        self.number: Final = number
        self.parent: Final = parent
        self.cpus: Final = cpus
        self.wanted: Final = wanted  # GPUs, while it waits
        self.gpus: Final = tuple(gpus)
        self.processes: Final = tuple(processes)

    @property
    def name(self) -> str:
        """The name of its file, which is all that is written of it."""
        gpus = "-".join(map(str, self.gpus))
        processes = ".".join(f"{pid}-{start}" for pid, start in self.processes)
        return f"{self.kind}.{self.number}.{self.parent}.{self.cpus}.{self.wanted}.g{gpus}.{processes}"


def read(name: str) -> Entry | None:
    """The entry of a file's name; None for another file."""
    kind, *rest = name.split(".")
    if kind not in (RUN, WAIT) or len(rest) < 5:
        return None
    number, parent, cpus, wanted, gpus, *processes = rest
    try:
        return Entry(
            kind,
            int(number),
            parent,
            int(cpus),
            int(wanted),
            [int(each) for each in gpus[1:].split("-") if each],
            [(int(pid), int(start)) for pid, start in (each.split("-") for each in processes)],
        )
    except ValueError:
        return None


def place(environ: Mapping[str, str]) -> tuple[str, Pool]:
    """The step that an srun is started in, by its number or `NO_PARENT`, and what it may share out."""
    number, cpus, gpus = NO_PARENT, environ.get(CPUS, environ.get("SLURM_CPUS_ON_NODE", "")), environ.get(GPUS)
    if gpus is None:  # of a job that began under a gflowd which did not tell
        gpus = environ.get("CUDA_VISIBLE_DEVICES", "")
    told = environ.get(STEP, "").split(":", 2)
    if len(told) == 3:
        number, cpus, gpus = told
    return number, Pool(int(cpus) if cpus.isdecimal() else 1, [each for each in gpus.split(",") if each])


def told(number: int, need: Need, gpus: Sequence[str]) -> str:
    """The variable by which the tasks of a step know `place`."""
    return f"{number}:{need.tasks * need.cpus_of_task}:{','.join(gpus)}"


def need(step: Step, pool: Pool) -> Need:
    """What a step takes of its pool. Raises `Refused` for one that can never start."""
    gpus = step.gpus
    tasks = step.tasks
    if tasks is None and step.tasks_per_gpu is not None:
        tasks = max(1, (len(pool.gpus) if gpus is None else gpus) * step.tasks_per_gpu)
    tasks = tasks or 1
    if step.gpus_per_task is not None:
        gpus = step.gpus_per_task * tasks if gpus is None else max(gpus, step.gpus_per_task * tasks)
    if gpus is None:
        gpus = len(pool.gpus)
    elif gpus > len(pool.gpus):
        raise Refused(
            f"the step asks for {gpus} GPU{'s' * (gpus != 1)}, and its job has {len(pool.gpus)}: "
            "Invalid generic resource (gres) specification"
        )
    each = step.cpus or 1
    if not step.cpus_given and tasks * each > pool.cpus:  # the job's own --cpus-per-task
        each = max(1, pool.cpus // tasks)
    cpus = tasks * each
    if step.overcommit:
        cpus = min(cpus, pool.cpus)
    if cpus > pool.cpus:
        raise Refused("More processors requested than permitted")
    if step.whole:
        cpus = pool.cpus
    shares = step.overlap or (step.gpus_given and gpus > 0 and not step.cpus_given)
    return Need(tasks, each, 0 if shares else cpus, gpus, overlap=step.overlap)


def chosen(wanted: Need, pool: Pool, entries: Iterable[Entry], before: int | None = None) -> tuple[int, ...] | None:
    """The places in the pool of the GPUs that a step gets now, or None while it must wait. `entries` are the steps of
    the same pool that run, or wait; `before` is the turn of this one, if it waits already.
    """
    cpus, taken, claimed = pool.cpus, set[int](), 0
    for entry in entries:
        if entry.kind == RUN:
            cpus -= entry.cpus
            taken.update(entry.gpus)
        elif before is None or entry.number < before:
            cpus -= entry.cpus
            claimed += entry.wanted
    free = [place for place in range(len(pool.gpus)) if place not in taken]
    if wanted.overlap:
        return tuple([*free, *sorted(taken)][: wanted.gpus])
    if (wanted.cpus and wanted.cpus > cpus) or (wanted.gpus and wanted.gpus > len(free) - claimed):
        return None
    return tuple(free[: wanted.gpus])
