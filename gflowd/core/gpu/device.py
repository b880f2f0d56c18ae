"""A GPU as a poll saw it, and the processes on it. `states` decides whether it may be allocated."""

from __future__ import annotations

from gflowd.core.job.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


class GpuProcess(Value):
    """A process on a GPU: its owner, and its memory in MiB if the driver reports it."""

    __slots__ = ("graphics", "job_id", "memory_mb", "pid", "start", "user")

    def __init__(
        self,
        *,
        pid: int,
        memory_mb: int | None = None,
        user: str = "?",
        start: int = 0,
        job_id: int | None = None,
        graphics: bool = False,
    ) -> None:
        self.pid: Final = pid
        self.memory_mb: Final = memory_mb
        self.user: Final = user
        self.start: Final = start  # in clock ticks since boot; 0 for one that we cannot see
        self.job_id: Final = job_id  # the live job that it is of; None: foreign
        self.graphics: Final = graphics  # it draws and does not compute, e.g. an X server; it keeps no job from the GPU


class Gpu(Value):
    """A GPU, or one MIG device of a GPU that was cut up, as a poll saw it. Memory in MiB, `utilisation` in percent,
    `temperature` in degrees Celsius.
    """

    __slots__ = (
        "answers", "ecc", "fault", "index", "instance", "lasting", "links", "memory_mb", "model", "parent", "processes",
        "simulated", "temperature", "used_mb", "utilisation", "uuid",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 -- one argument per thing that a driver tells
        self,
        *,
        index: int,
        uuid: str,
        model: str,
        memory_mb: int,
        used_mb: int = 0,
        utilisation: int | None = None,
        temperature: int | None = None,
        processes: tuple[GpuProcess, ...] = (),
        simulated: bool = False,
        fault: str | None = None,
        lasting: bool = False,
        answers: bool = True,
        ecc: int = 0,
        links: tuple[str, ...] = (),
        parent: str | None = None,
        instance: tuple[int, int] | None = None,
    ) -> None:
        self.index: Final = index  # in PCI order, as CUDA_DEVICE_ORDER=PCI_BUS_ID counts while there is no MIG device
        self.uuid: Final = uuid
        self.model: Final = model  # of a MIG device with ` MIG ` and its profile at the end
        self.memory_mb: Final = memory_mb
        self.used_mb: Final = used_mb
        self.utilisation: Final = utilisation
        self.temperature: Final = temperature
        self.processes: Final = processes
        self.simulated: Final = simulated
        self.fault: Final = fault  # why it must not be allocated
        self.lasting: Final = lasting  # the fault stays until the GPU is resumed
        self.answers: Final = answers  # it is there, whatever else is wrong with it
        self.ecc: Final = ecc  # uncorrectable memory errors since the driver was loaded
        self.links: Final = links  # to each GPU by index, in the words of `nvidia-smi topo`: X, NV4, PIX, SYS ...
        self.parent: Final = parent  # of a MIG device: the UUID of the GPU that it is a part of
        self.instance: Final = instance  # and the ids of its GPU instance and its compute instance

    @property
    def card(self) -> str:
        """The UUID of the GPU that can be touched: its own, or that of which it is a part."""
        return self.parent or self.uuid
