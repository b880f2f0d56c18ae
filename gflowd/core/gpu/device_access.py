"""Which device files of GPUs the processes of a job may open, by major and minor numbers. `device_program` says the
same to the kernel.

NVIDIA's are /dev/nvidia0 and so on, one for each GPU, and those that control all of them (nvidiactl, nvidia-modeset,
and others with majors of their own), which every program needs. A MIG device takes the file of its GPU, and those of
its GPU instance and its compute instance below /dev/nvidia-caps (MIG User Guide, "Device Nodes and Capabilities").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gflowd.core.gpu.device import Gpu

OFF, JOBS, EVERYONE = "off", "jobs", "everyone"  # the values of `enforce_gpus`
CONTROL = 254  # of NVIDIA's major: nvidia-modeset, 255 nvidiactl; below are the GPUs
NO_CONTROL = 1 << 20  # more than a minor can be

Instance = tuple[int, int, int | None]  # the minor of a GPU, the id of a GPU instance, that of a compute instance


class UnknownFile(Exception):
    """The driver does not tell which device file a GPU has."""


@dataclass(frozen=True, slots=True)
class Family:
    """The character devices of one major: of them, only `minors` may be opened, and those from `control` on."""

    major: int
    minors: tuple[int, ...] = ()
    control: int = NO_CONTROL


@dataclass(frozen=True, slots=True)
class Rule:
    """What may be opened: everything but the GPUs that `families` leave out. `spares_root`: not of root's processes."""

    families: tuple[Family, ...]
    spares_root: bool = False


@dataclass(frozen=True, slots=True)
class Files:
    """The numbers of the device files of this machine. `capabilities`: the minors of MIG's, `monitor` that by which
    MIG devices are watched.
    """

    major: int
    capability_major: int | None = None
    capabilities: Mapping[Instance, int] = field(default_factory=dict)
    monitor: int | None = None


def rule(gpus: Iterable[Gpu], files: Files) -> Rule:
    """May open these GPUs and no other. Raises `UnknownFile`."""
    minors: set[int] = set()
    capabilities = set() if files.monitor is None else {files.monitor}
    for gpu in gpus:
        if gpu.minor is None:
            raise UnknownFile(f"the driver does not tell the device file of GPU {gpu.index}")
        minors.add(gpu.minor)
        if gpu.instance is not None:
            part, computing = gpu.instance
            for instance in ((gpu.minor, part, None), (gpu.minor, part, computing)):
                if instance not in files.capabilities:
                    raise UnknownFile(f"the driver does not tell the device files of the MIG device {gpu.index}")
                capabilities.add(files.capabilities[instance])
    families = [Family(files.major, tuple(sorted(minors)), CONTROL)]
    if files.capability_major is not None:
        families.append(Family(files.capability_major, tuple(sorted(capabilities))))
    return Rule(tuple(families))


def of_logins(files: Files) -> Rule:
    """May open no GPU, unless it is root's, by whichever way: the real user counts."""
    return Rule(rule((), files).families, spares_root=True)
