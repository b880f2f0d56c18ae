"""A GPU as a poll saw it, and the processes on it. `states` decides whether it may be allocated."""

from __future__ import annotations

from dataclasses import dataclass

from gflowd.core.job.value_base import Posted


@dataclass(frozen=True, slots=True)
class GpuProcess(Posted):
    """A process on a GPU: its owner, and the memory it uses in MiB, if the driver reports that."""

    pid: int
    memory_mb: int | None = None
    user: str = "?"
    start: int = 0  # in clock ticks since boot; 0 for one that we cannot see
    job_id: int | None = None  # the live job that it is of; None: foreign
    graphics: bool = False  # it draws and does not compute, like an X server; it keeps no job away


@dataclass(frozen=True, slots=True)
class Gpu(Posted):
    """A GPU, or one MIG device of a GPU that was cut up, as a poll saw it. Memory in MiB, `utilisation` in percent,
    `temperature` in degrees Celsius.
    """

    index: int  # in PCI order, as CUDA_DEVICE_ORDER=PCI_BUS_ID counts while there is no MIG device
    uuid: str
    model: str  # of a MIG device with ` MIG ` and its profile at the end
    memory_mb: int
    used_mb: int = 0
    utilisation: int | None = None
    temperature: int | None = None
    processes: tuple[GpuProcess, ...] = ()
    simulated: bool = False
    fault: str | None = None  # why it must not be given away
    lasting: bool = False  # the fault stays until the GPU is resumed
    answers: bool = True  # it is there, whatever else is wrong with it
    ecc: int = 0  # uncorrectable memory errors since the driver was loaded
    links: tuple[str, ...] = ()  # to each GPU by index, in the words of `nvidia-smi topo`: X, NV4, PIX, SYS ...
    parent: str | None = None  # of a MIG device: the UUID of the GPU that it is a part of
    instance: tuple[int, int] | None = None  # and the ids of its GPU instance and its compute instance
    minor: int | None = None  # of its device file, /dev/nvidia0 ...; of a MIG device that of the GPU

    @property
    def card(self) -> str:
        """The UUID of the physical GPU: its own, or that of the GPU of which it is a part."""
        return self.parent or self.uuid
