"""NVIDIA's GPUs through NVML: which exist, their state and their faults. Only the GPU poller imports this.

A GPU is identified by UUID. One that is gone stays on the list in its place, faulty; one in MIG
mode is replaced by its MIG devices.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from _ctypes import dlclose
from typing import TYPE_CHECKING, Any, NoReturn

from gflowd.core.gpu import topology
from gflowd.core.gpu.device import Gpu
from gflowd.core.gpu.faults import DriverFailed
from gflowd.core.gpu.inventory import Answer, Inventory
from gflowd.core.gpu.nvml_codes import FATAL_XIDS, MIG, MISSING, NO_FUNCTION, TROUBLES
from gflowd.core.gpu.topology import Ends
from gflowd.effects import installer
from gflowd.effects.gpu import nvml_device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gflowd.core.gpu.inventory import Found, Place

LIBRARY = "libnvidia-ml.so.1"
MOST_EVENTS = 1000  # at one poll
_FUNCTIONS = ("nvmlDevice", "nvmlEventSet")


class Complete:
    """The module `pynvml`. A function that this release lacks fails like one that the driver lacks, so that only
    its values are missing; a missing constant is None.
    """

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        if not name.startswith(_FUNCTIONS):
            return getattr(self._module, name, None)
        return getattr(self._module, name, self._fail)

    def _fail(self, *_: object) -> NoReturn:
        raise self._module.NVMLError(NO_FUNCTION)


class Nvml:
    """The driver. `has_hardware` says whether there is an NVIDIA GPU, with or without a driver."""

    def __init__(self, has_hardware: Callable[[], bool]) -> None:
        self._has_hardware = has_hardware
        self._nvml: Any = None  # `Complete`, while NVML is initialised
        self._events: Any = None
        self._inventory = Inventory()
        self._uuids: dict[int, str] = {}  # by NVML's index, which stays while it is initialised
        self._linked: list[tuple[str, str]] = []  # the GPUs that `_links` are of, and what they are parts of
        self._links: dict[str, tuple[str, ...]] = {}

    def poll(self) -> tuple[Gpu, ...]:
        """Every GPU in PCI order, MIG devices in place of their GPU; `fault` is its current fault.

        Raises `DriverFailed`.
        """
        if self._nvml is None and not self._begin():
            return ()
        try:
            found = self._inventory.call(self._answers())
        except self._nvml.NVMLError as error:
            self._end()
            raise _failed(error) from None
        self._look_at_links(found)
        return tuple(gpu.replace(index=index, links=self._links.get(gpu.uuid, ())) for index, gpu in enumerate(found))

    def close(self) -> None:
        """Shuts NVML down."""
        if self._nvml is not None:
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()
            self._nvml = None

    def _begin(self) -> bool:
        """Initialises NVML; False on a machine without a GPU or a driver."""
        if not _is_installed():
            if self._inventory or self._has_hardware():
                raise DriverFailed(TROUBLES[MISSING])
            return False
        try:
            import pynvml  # a module of 8000 lines that most machines do not need
        except Exception as error:  # whatever another module of that name does instead
            why = f"the Python package nvidia-ml-py cannot be imported: {type(error).__name__}: {error}"
            raise DriverFailed(f"{why}; {installer.command('nvidia-ml-py')}") from error
        self._nvml = Complete(pynvml)
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            self._end()
            raise _failed(error) from None
        self._watch_events()
        return True

    def _end(self) -> None:
        """Shuts NVML down and unloads its library, so that a driver updated meanwhile is found."""
        library = self._nvml.nvmlLib
        self.close()
        self._uuids, self._linked, self._events = {}, [], None
        sys.modules.pop("pynvml", None)
        if library is not None:
            dlclose(library._handle)  # noqa: SLF001 -- ctypes has no other way

    def _answers(self) -> Iterator[Answer]:
        nvml = self._nvml
        xids = self._xids()
        for number in range(nvml.nvmlDeviceGetCount()):
            whole: Found | None = None
            found: tuple[Found, ...] = ()
            trouble: dict[str, Any] = {}
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(number)
                uuid = str(nvml.nvmlDeviceGetUUID(handle))
                model, memory_mb = str(nvml.nvmlDeviceGetName(handle)), self._inventory.memory_mb(uuid)
                whole = _place(nvml, handle), Gpu(index=0, uuid=uuid, model=model, memory_mb=memory_mb)
                self._uuids[number] = uuid
                minor = nvml_device.optional(nvml, nvml.nvmlDeviceGetMinorNumber, handle)
                whole = whole[0], whole[1].replace(minor=minor)
                found = tuple(self._devices(handle, whole))
            except nvml.NVMLError as error:
                trouble = nvml_device.fault(error)
            card = self._uuids.get(number)
            if card is not None and card in xids:  # whatever happens next, since it is reported only once
                trouble = {"fault": f"Xid {xids[card]}: {FATAL_XIDS[xids[card]]}", "lasting": True}
                found = tuple((place, gpu.replace(**trouble)) for place, gpu in found)
            yield Answer(number, card, found, whole, **trouble)

    def _devices(self, handle: Any, whole: Found) -> Iterator[Found]:
        """What a GPU consists of: itself, or its MIG devices."""
        place, gpu = whole
        slices = nvml_device.slices(self._nvml, handle)
        if slices is None:
            yield place, nvml_device.look(self._nvml, handle, gpu)
        elif slices:
            for number, part in nvml_device.look_at_slices(self._nvml, handle, gpu, slices, self._inventory.memory_mb):
                yield (*place[:3], 1 + number), part
        else:
            yield place, gpu.replace(fault=MIG)

    def _watch_events(self) -> None:
        """Asks NVML to queue the Xids for us, if the driver can; they are read at each poll, without waiting."""
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

    def _look_at_links(self, gpus: list[Gpu]) -> None:
        """How each two GPUs are linked: queried once for every set of GPUs, since links do not change."""
        cards = {gpu.uuid: gpu.card for gpu in gpus}
        if list(cards.items()) == self._linked:
            return
        handles: dict[str, Any] = {}
        for number, uuid in self._uuids.items():
            with contextlib.suppress(self._nvml.NVMLError):
                handles[uuid] = self._nvml.nvmlDeviceGetHandleByIndex(number)
        self._links = topology.words(cards, {card: self._ends(card, handles) for card in set(cards.values())})
        self._linked = list(cards.items())

    def _ends(self, uuid: str, handles: dict[str, Any]) -> Ends:
        nvml = self._nvml
        reaches, ways, far = {}, {}, []
        try:
            mine = handles[uuid]
            for other, its in handles.items():
                if other != uuid:
                    ways[other] = nvml.nvmlDeviceGetTopologyCommonAncestor(mine, its)
                    status = nvml_device.optional(
                        nvml, nvml.nvmlDeviceGetP2PStatus, mine, its, nvml.NVML_P2P_CAPS_INDEX_NVLINK
                    )
                    reaches[other] = status == nvml.NVML_P2P_STATUS_OK
            for number in range(nvml.NVML_NVLINK_MAX_LINKS):
                active = nvml_device.optional(nvml, nvml.nvmlDeviceGetNvLinkState, mine, number)
                if active is None:
                    break
                if active:
                    far.append(_address(nvml.nvmlDeviceGetNvLinkRemotePciInfo(mine, number)))
            return Ends(_address(nvml.nvmlDeviceGetPciInfo(mine)), far, reaches, ways)
        except (KeyError, nvml.NVMLError):
            return Ends()


def _place(nvml: Any, handle: Any) -> Place:
    return (*_address(nvml.nvmlDeviceGetPciInfo(handle)), 0)


def _address(pci: Any) -> tuple[int, int, int]:
    """PCI domain, bus and device."""
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
