"""NVIDIA's GPUs through NVML: what there is, how it fares, what is wrong with it. The GPU poller alone imports this.

A GPU is known by its UUID. One that was there and is not any more stays on the list, faulty, in its place.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from _ctypes import dlclose
from typing import TYPE_CHECKING, Any

from gflowd.core import gpu_links
from gflowd.core.gpu import Gpu, GpuProcess
from gflowd.core.gpu_faults import DriverFailed
from gflowd.core.gpu_links import Ends
from gflowd.core.nvml_codes import FATAL_XIDS, GONE, LASTING, MIG, MISSING, OF_THE_DRIVER, TROUBLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIBRARY = "libnvidia-ml.so.1"
MOST_EVENTS = 1000  # at one poll

Place = tuple[int, int, int]  # PCI domain, bus and device


class Nvml:
    """The driver. `has_hardware` says whether there is a GPU of NVIDIA's, driver or not."""

    def __init__(self, has_hardware: Callable[[], bool]) -> None:
        self._has_hardware = has_hardware
        self._nvml: Any = None  # the module `pynvml`, while NVML is initialised
        self._events: Any = None
        self._known: dict[str, tuple[Place, Gpu]] = {}
        self._uuids: dict[int, str] = {}  # by NVML's index, which stays while it is initialised
        self._linked: tuple[str, ...] | None = None  # the UUIDs that `_links` are of
        self._links: dict[str, tuple[str, ...]] = {}

    def poll(self) -> tuple[Gpu, ...]:
        """Every GPU in PCI order; a fault is what is wrong with one now. Raises `DriverFailed`."""
        if self._nvml is None and not self._begin():
            return ()
        try:
            seen = dict(self._devices())
        except self._nvml.NVMLError as error:
            self._end()
            raise _failed(error) from None
        self._known |= {uuid: found for uuid, found in seen.items() if uuid in self._uuids.values()}
        gone = {
            uuid: (place, _silent(gpu, fault=GONE, lasting=True))
            for uuid, (place, gpu) in self._known.items()
            if uuid not in seen
        }
        nameless = [uuid for uuid in seen if uuid not in self._known]
        for uuid in nameless[: len(gone)]:  # these are the same
            del seen[uuid]
        ordered = sorted((seen | gone).values(), key=lambda found: found[0])
        self._look_at_links([gpu.uuid for _, gpu in ordered])
        return tuple(
            gpu.replace(index=index, links=self._links.get(gpu.uuid, ())) for index, (_, gpu) in enumerate(ordered)
        )

    def close(self) -> None:
        """Shuts NVML down."""
        if self._nvml is not None:
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()
            self._nvml = None

    def _begin(self) -> bool:
        """Initialises NVML; False on a machine without a GPU or a driver."""
        if not _is_installed():
            if self._known or self._has_hardware():
                raise DriverFailed(TROUBLES[MISSING])
            return False
        import pynvml  # of 8000 lines, and most machines that try gflow have no use for it

        self._nvml = pynvml
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            self._end()
            raise _failed(error) from None
        self._watch_events()
        return True

    def _end(self) -> None:
        """Shuts NVML down and unloads its library, so that a driver brought up to date meanwhile is found."""
        library = self._nvml.nvmlLib
        self.close()
        self._uuids, self._linked, self._events = {}, None, None
        sys.modules.pop("pynvml", None)
        if library is not None:
            dlclose(library._handle)  # noqa: SLF001 -- ctypes has no other way

    def _devices(self) -> Iterator[tuple[str, tuple[Place, Gpu]]]:
        nvml = self._nvml
        xids = self._xids()
        for number in range(nvml.nvmlDeviceGetCount()):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(number)
                uuid = str(nvml.nvmlDeviceGetUUID(handle))
                pci = nvml.nvmlDeviceGetPciInfo(handle)
                model = str(nvml.nvmlDeviceGetName(handle))
            except nvml.NVMLError as error:
                yield self._unreachable(number, error)
                continue
            self._uuids[number] = uuid
            place = _address(pci)
            before = self._known[uuid][1] if uuid in self._known else Gpu(index=0, uuid=uuid, model=model, memory_mb=0)
            yield uuid, (place, self._look(handle, before, xids.get(uuid)))

    def _unreachable(self, number: int, error: Any) -> tuple[str, tuple[Place, Gpu]]:
        """A GPU that does not even say who it is."""
        fault = _fault(error)
        uuid = self._uuids.get(number)
        if uuid is not None and uuid in self._known:
            place, gpu = self._known[uuid]
            return uuid, (place, _silent(gpu, **fault))
        uuid = f"unknown-{number}"
        return uuid, ((1 << 32, number, 0), _silent(Gpu(index=0, uuid=uuid, model="unknown", memory_mb=0), **fault))

    def _look(self, handle: Any, before: Gpu, xid: int | None) -> Gpu:
        """How a GPU fares now; `before` gives what an unanswered query leaves open."""
        nvml = self._nvml
        try:
            memory = self._optional(nvml.nvmlDeviceGetMemoryInfo, handle)
            load = self._optional(nvml.nvmlDeviceGetUtilizationRates, handle)
            heat = self._optional(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)
            counter = (nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC)
            ecc = self._optional(nvml.nvmlDeviceGetTotalEccErrors, handle, *counter)
            mig = self._optional(nvml.nvmlDeviceGetMigMode, handle)
            processes = nvml.nvmlDeviceGetComputeRunningProcesses_v3(handle)
        except nvml.NVMLError as error:
            return _silent(before, **_fault(error))
        mode = MIG if mig is not None and mig[0] else None
        return Gpu(
            index=0,
            uuid=before.uuid,
            model=before.model,
            memory_mb=_mib(memory.total) if memory else before.memory_mb,
            used_mb=_mib(memory.used) if memory else 0,
            utilisation=load and int(load.gpu),
            temperature=heat,
            processes=tuple(_process(process) for process in processes),
            fault=mode if xid is None else f"Xid {xid}: {FATAL_XIDS[xid]}",
            lasting=xid is not None,
            ecc=ecc or 0,
        )

    def _optional(self, query: Callable[..., Any], *about: Any) -> Any:
        """What a query answers, None where this GPU or driver does not know; raises when it could not be asked."""
        try:
            return query(*about)
        except self._nvml.NVMLError as error:
            if error.value in (*OF_THE_DRIVER, *LASTING):
                raise
            return None

    def _watch_events(self) -> None:
        """Asks NVML to keep the Xids for us, where the driver can: read at each poll, nobody waits for them."""
        nvml = self._nvml
        with contextlib.suppress(nvml.NVMLError):
            events = nvml.nvmlEventSetCreate()
            for number in range(nvml.nvmlDeviceGetCount()):
                with contextlib.suppress(nvml.NVMLError):
                    handle = nvml.nvmlDeviceGetHandleByIndex(number)
                    nvml.nvmlDeviceRegisterEvents(handle, nvml.nvmlEventTypeXidCriticalError, events)
            self._events = events

    def _xids(self) -> dict[str, int]:
        """The last fatal Xid of each GPU that had one since the last poll, by UUID."""
        nvml, found = self._nvml, {}
        for _ in range(MOST_EVENTS if self._events is not None else 0):
            try:
                event = nvml.nvmlEventSetWait_v2(self._events, 0)
                if event.eventData in FATAL_XIDS:
                    found[str(nvml.nvmlDeviceGetUUID(event.device))] = int(event.eventData)
            except nvml.NVMLError:  # nearly always: no more events
                break
        return found

    def _look_at_links(self, uuids: list[str]) -> None:
        """Which way each two GPUs are joined: asked once for every set of GPUs, since nothing moves."""
        if tuple(uuids) == self._linked:
            return
        handles: dict[str, Any] = {}
        for number, uuid in self._uuids.items():
            with contextlib.suppress(self._nvml.NVMLError):
                handles[uuid] = self._nvml.nvmlDeviceGetHandleByIndex(number)
        self._links = gpu_links.words({uuid: self._ends(uuid, handles) for uuid in uuids})
        self._linked = tuple(uuids)

    def _ends(self, uuid: str, handles: dict[str, Any]) -> Ends:
        nvml = self._nvml
        reaches, ways, far = {}, {}, []
        try:
            mine = handles[uuid]
            for other, its in handles.items():
                if other != uuid:
                    ways[other] = nvml.nvmlDeviceGetTopologyCommonAncestor(mine, its)
                    status = self._optional(nvml.nvmlDeviceGetP2PStatus, mine, its, nvml.NVML_P2P_CAPS_INDEX_NVLINK)
                    reaches[other] = status == nvml.NVML_P2P_STATUS_OK
            for number in range(nvml.NVML_NVLINK_MAX_LINKS):
                active = self._optional(nvml.nvmlDeviceGetNvLinkState, mine, number)
                if active is None:
                    break
                if active:
                    far.append(_address(nvml.nvmlDeviceGetNvLinkRemotePciInfo(mine, number)))
            return Ends(_address(nvml.nvmlDeviceGetPciInfo(mine)), far, reaches, ways)
        except (KeyError, nvml.NVMLError):
            return Ends()


def _address(pci: Any) -> Place:
    return int(pci.domain), int(pci.bus), int(pci.device)


def _is_installed() -> bool:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    dlclose(library._handle)  # noqa: SLF001 -- as above
    return True


def _failed(error: Any) -> DriverFailed:
    return DriverFailed(TROUBLES.get(error.value, f"NVML fails: {error}"))


def _fault(error: Any) -> dict[str, Any]:
    if error.value in OF_THE_DRIVER:
        raise error
    return {"fault": str(error), "lasting": error.value in LASTING}


def _silent(gpu: Gpu, *, fault: str, lasting: bool) -> Gpu:
    """A GPU that does not answer, of which nothing is known but what it was."""
    return Gpu(
        index=0,
        uuid=gpu.uuid,
        model=gpu.model,
        memory_mb=gpu.memory_mb,
        fault=fault,
        lasting=lasting,
        answers=False,
    )


def _process(found: Any) -> GpuProcess:
    return GpuProcess(pid=int(found.pid), memory_mb=None if found.usedGpuMemory is None else _mib(found.usedGpuMemory))


def _mib(size: int) -> int:
    return int(size) >> 20
