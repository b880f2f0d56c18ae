"""What NVML reports on one GPU and its MIG devices at one moment. Remembers nothing, and knows no other GPU.

`nvml` is the module `pynvml`, everywhere, while NVML is initialised (`nvml.Complete`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gflowd.core.gpu import nvml_codes
from gflowd.core.gpu.device import Gpu, GpuProcess
from gflowd.core.gpu.inventory import silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Slice = tuple[int, Any]  # the number of a MIG device, and its handle


def optional(nvml: Any, query: Callable[..., Any], *about: Any) -> Any:
    """What a query answers, None if this GPU or driver does not know; raises when it could not be asked."""
    try:
        return query(*about)
    except nvml.NVMLError as error:
        if error.value in (*nvml_codes.OF_THE_DRIVER, *nvml_codes.LASTING):
            raise
        return None


def fault(error: Any) -> dict[str, Any]:
    """What an error says about a GPU: `fault` and `lasting`. Raises it again if it concerns the driver."""
    if error.value in nvml_codes.OF_THE_DRIVER:
        raise error
    return {"fault": str(error), "lasting": error.value in nvml_codes.LASTING}


def slices(nvml: Any, handle: Any) -> list[Slice] | None:
    """The MIG devices of a GPU; None for one that is not in MIG mode. Raises `NVMLError` if that cannot be told."""
    try:
        if not nvml.nvmlDeviceGetMigMode(handle)[0]:
            return None
    except nvml.NVMLError as error:
        if error.value in nvml_codes.UNABLE:
            return None
        raise
    found = []
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            found.append((number, nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)))
        except nvml.NVMLError as error:
            if error.value != nvml_codes.NOT_FOUND:
                raise
    return found


def look(nvml: Any, handle: Any, before: Gpu) -> Gpu:
    """The current state of a whole GPU; `before` supplies what a failed query leaves open."""
    try:
        memory = _memory_info(nvml, handle)
        load = optional(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
        processes = _merged(_running(nvml, "Compute", handle), _drawing(nvml, handle))
        return before.replace(
            **_memory(memory, before),
            **_health(nvml, handle),
            utilisation=load and int(load.gpu),
            processes=processes,
        )
    except nvml.NVMLError as error:
        return silent(before, **fault(error))


def look_at_slices(
    nvml: Any, handle: Any, whole: Gpu, found: Sequence[Slice], memory_mb: Callable[[str], int]
) -> Iterator[tuple[int, Gpu]]:
    """The current state of the MIG devices of the GPU `whole`, by number; they share its faults. Raises `NVMLError`.

    `memory_mb` is what each had, by UUID.
    """
    health = _health(nvml, handle)
    on_card = optional(nvml, _running, nvml, "Compute", handle)
    for number, device in found:
        instance = (nvml.nvmlDeviceGetGpuInstanceId(device), nvml.nvmlDeviceGetComputeInstanceId(device))
        uuid = str(nvml.nvmlDeviceGetUUID(device))
        before = Gpu(
            index=0,
            uuid=uuid,
            model=_model(nvml, device, whole.model),
            memory_mb=memory_mb(uuid),
            parent=whole.uuid,
            instance=instance,
            minor=whole.minor,
        )
        try:
            memory = _memory_info(nvml, device)
            processes = _merged(_on_slice(nvml, device, instance, on_card), _drawing(nvml, device))
            yield number, before.replace(**_memory(memory, before), **health, processes=processes)
        except nvml.NVMLError as error:
            if error.value in nvml_codes.LASTING:  # of all of the GPU
                raise
            yield number, silent(before, **fault(error))


def _model(nvml: Any, device: Any, model: str) -> str:
    """The name of a MIG device: that of its GPU, ` MIG ` and its profile, as in `nvidia-smi -L`."""
    name = str(optional(nvml, nvml.nvmlDeviceGetName, device) or "")
    if " MIG " in name:
        return name
    has = optional(nvml, nvml.nvmlDeviceGetAttributes_v2, device)
    if has is None:
        return f"{model} MIG device"
    parts, of = has.computeInstanceSliceCount, has.gpuInstanceSliceCount
    return f"{model} MIG {f'{parts}c.' if parts != of else ''}{of}g.{-(-int(has.memorySizeMB) // 1024)}gb"


def _memory_info(nvml: Any, handle: Any) -> Any:
    """Total and used memory: as nvidia-smi counts them, without what the driver keeps for itself (480 MiB of an idle
    H100 under driver 580), if the driver is recent enough to report that.
    """
    newest = optional(nvml, nvml.nvmlDeviceGetMemoryInfo, handle, nvml.nvmlMemory_v2)
    return optional(nvml, nvml.nvmlDeviceGetMemoryInfo, handle) if newest is None else newest


def _memory(memory: Any, before: Gpu) -> dict[str, int]:
    if not memory:
        return {"memory_mb": before.memory_mb, "used_mb": 0}
    return {"memory_mb": _mib(memory.total), "used_mb": _mib(memory.used)}


def _health(nvml: Any, handle: Any) -> dict[str, Any]:
    """The values that concern the whole GPU."""
    counter = (nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC)
    return {
        "temperature": optional(nvml, nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
        "ecc": optional(nvml, nvml.nvmlDeviceGetTotalEccErrors, handle, *counter) or 0,
    }


def _running(nvml: Any, kind: str, handle: Any) -> list[Any]:
    """The processes of a kind, `Compute` or `Graphics`; `gpuInstanceId` and `computeInstanceId` say where.

    Drivers before R510 support only the second version, and some return the third in a shape that cannot be parsed.
    """
    newest, older = (getattr(nvml, f"nvmlDeviceGet{kind}RunningProcesses_v{version}") for version in (3, 2))
    try:
        found: list[Any] = newest(handle)
    except nvml.NVMLError as error:
        if error.value != nvml_codes.NO_FUNCTION:
            raise
        found = older(handle)
    if all(0 < int(each.pid) <= nvml_codes.GREATEST_PID for each in found):
        return found
    other = optional(nvml, older, handle)
    return found if other is None else other


def _drawing(nvml: Any, handle: Any) -> list[Any]:
    return optional(nvml, _running, nvml, "Graphics", handle) or []


def _on_slice(nvml: Any, device: Any, instance: tuple[int, int], on_card: list[Any] | None) -> list[Any]:
    """The processes on a MIG device: those it reports, and those that its GPU reports to be there.

    If it can report none, also those whose place its GPU does not report.
    """
    try:
        own, unplaced = _running(nvml, "Compute", device), False
    except nvml.NVMLError as error:
        if error.value not in (*nvml_codes.UNABLE, nvml_codes.NO_PERMISSION) or on_card is None:
            raise
        own, unplaced = [], True
    known = {int(each.pid) for each in own}
    for each in on_card or ():
        where = (int(each.gpuInstanceId), int(each.computeInstanceId))
        there = where in (instance, (instance[0], nvml_codes.NONE)) or (unplaced and where[0] == nvml_codes.NONE)
        if there and int(each.pid) not in known:
            own.append(each)
    return own


def _merged(computing: list[Any], drawing: list[Any]) -> tuple[GpuProcess, ...]:
    """A process that does both counts as computing."""
    pids = {int(each.pid) for each in computing}
    only = [each for each in drawing if int(each.pid) not in pids]
    return (*map(_process, computing), *(_process(each).replace(graphics=True) for each in only))


def _process(found: Any) -> GpuProcess:
    return GpuProcess(pid=int(found.pid), memory_mb=None if found.usedGpuMemory is None else _mib(found.usedGpuMemory))


def _mib(size: int) -> int:
    return int(size) >> 20
