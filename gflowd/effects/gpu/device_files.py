"""Which numbers the device files of NVIDIA's GPUs have on this machine: by proc(5) and the driver's own files there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gflowd.core.gpu.device_access import Files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gflowd.core.gpu.device import Gpu
    from gflowd.core.gpu.device_access import Instance

REGISTERED = 195  # NVIDIA's major (admin-guide/devices.txt), where no driver is loaded yet
DRIVERS = ("nvidia", "nvidia-frontend")  # how it is called
CAPABILITIES = "nvidia-caps"
_MINOR = re.compile(r"^DeviceFileMinor:\s*([0-9]+)$", re.MULTILINE)


def read(gpus: Iterable[Gpu], proc: str = "/proc") -> Files:
    """The numbers of today, those of capabilities for the MIG devices among `gpus`."""
    majors = _majors(_text(f"{proc}/devices"))
    driver = next((majors[name] for name in DRIVERS if name in majors), REGISTERED)
    if CAPABILITIES not in majors:
        return Files(driver)
    root = f"{proc}/driver/nvidia/capabilities"
    capabilities = {}
    for instance in _instances(gpus):
        minor, part, computing = instance
        place = f"{root}/gpu{minor}/mig/gi{part}" + ("" if computing is None else f"/ci{computing}")
        if (found := _minor(f"{place}/access")) is not None:
            capabilities[instance] = found
    return Files(driver, majors[CAPABILITIES], capabilities, _minor(f"{root}/mig/monitor"))


def _instances(gpus: Iterable[Gpu]) -> Iterator[Instance]:
    for gpu in gpus:
        if gpu.minor is not None and gpu.instance is not None:
            part, computing = gpu.instance
            yield gpu.minor, part, None
            yield gpu.minor, part, computing


def _majors(devices: str) -> dict[str, int]:
    """The majors of character devices, by the names of their drivers."""
    lines = (line.split() for line in devices.partition("Block devices:")[0].splitlines())
    return {words[1]: int(words[0]) for words in lines if len(words) == 2 and words[0].isdecimal()}


def _minor(path: str) -> int | None:
    found = _MINOR.search(_text(path))
    return None if found is None else int(found[1])


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(1 << 16)
    except OSError:
        return ""
