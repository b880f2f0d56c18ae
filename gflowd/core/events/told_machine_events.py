"""What the events told so far of GPUs, reservations and the daemon. Mutable; pure. Part of `ToldEvents`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gflowd.core.events import kinds

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class GpuMark(NamedTuple):
    """A GPU that is there: where, and whether it is faulty and drained."""

    gpu: int
    faulty: bool = False
    drained: bool = False


class ReservationMark(NamedTuple):
    """A reservation: its digest, whether it was cancelled, its last window that began, and whether that has ended."""

    digest: int
    cancelled: bool = False
    start: float | None = None
    end: float | None = None
    over: bool = True


class ToldMachineEvents:
    """`gpus` by UUID; `instance`: which daemon was started last, None if it was stopped; `restarts` of its workers."""

    def __init__(self) -> None:
        self.gpus: dict[str, GpuMark] = {}
        self.reservations: dict[int, ReservationMark] = {}
        self.instance: str | None = None
        self.restarts: dict[str, int] = {}

    def take(self, event: Mapping[str, Any]) -> None:
        """An event has been told. Raises KeyError or TypeError for one that is none."""
        kind = event["kind"]
        if kind == kinds.DAEMON_STARTED:
            self.instance, self.restarts = event["instance"], {}
        elif kind == kinds.DAEMON_STOPPED:
            self.instance = None
        elif kind == kinds.WORKER_RESTARTED:
            self.restarts[event["worker"]] = event["restarts"]
        elif kind == kinds.GPU_VANISHED:
            self.gpus.pop(event["uuid"], None)
        elif kind.startswith("gpu_"):
            self._take_gpu(kind, event)
        elif kind.startswith("reservation_"):
            self._take_reservation(kind, event)

    def _take_gpu(self, kind: str, event: Mapping[str, Any]) -> None:
        changes: dict[str, bool] = {
            kinds.GPU_FAULTY: {"faulty": True}, kinds.GPU_RECOVERED: {"faulty": False},
            kinds.GPU_DRAINED: {"drained": True}, kinds.GPU_UNDRAINED: {"drained": False},
        }.get(kind, {})  # fmt: skip
        before = self.gpus.get(event["uuid"], GpuMark(event["gpu"]))
        self.gpus[event["uuid"]] = before._replace(gpu=event["gpu"], **changes)

    def _take_reservation(self, kind: str, event: Mapping[str, Any]) -> None:
        number = event["reservation"]
        mark = self.reservations.get(number, ReservationMark(0))
        if kind in (kinds.RESERVATION_MADE, kinds.RESERVATION_CHANGED):
            mark = mark._replace(digest=event["digest"])
        elif kind == kinds.RESERVATION_CANCELLED:
            mark = mark._replace(cancelled=True)
        elif kind == kinds.RESERVATION_BEGAN:
            mark = mark._replace(start=event["start"], end=event["end"], over=False)
        else:
            mark = mark._replace(over=True)
        self.reservations[number] = mark

    def forget(self, reservations: Collection[int]) -> None:
        """All but these are gone, and the ends of the others have been told."""
        for number in [each for each in self.reservations if each not in reservations]:
            del self.reservations[number]

    def checkpoint(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "gpus": [[uuid, *mark] for uuid, mark in self.gpus.items()],
            "reservations": [[number, *mark] for number, mark in self.reservations.items()],
            "instance": self.instance,
            "restarts": self.restarts,
        }


def restored(raw: Mapping[str, Any]) -> ToldMachineEvents:
    """What a checkpoint says; one without these knows nothing of them. Raises KeyError, TypeError or ValueError."""
    told = ToldMachineEvents()
    told.gpus = {uuid: GpuMark(*mark) for uuid, *mark in raw.get("gpus", ())}
    told.reservations = {number: ReservationMark(*mark) for number, *mark in raw.get("reservations", ())}
    told.instance = raw.get("instance")
    told.restarts = dict(raw.get("restarts", {}))
    return told
