"""What has happened to GPUs, reservations and the daemon, from what is now and from what was told of them before."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gflowd.core.events import kinds
from gflowd.core.events.told_machine_events import GpuMark, ReservationMark
from gflowd.core.planning import reservations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gflowd.core.events.kinds import Event
    from gflowd.core.events.told_machine_events import ToldMachineEvents
    from gflowd.core.gpu.admin_state import AdminState
    from gflowd.core.gpu.device import Gpu
    from gflowd.core.planning.reservations import Reservation, Window

    Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the daemon: how often it was started again, and when last (seconds since the epoch)."""

    name: str
    pid: int
    restarts: int
    started_at: float


@dataclass(frozen=True, slots=True)
class Daemon:
    """The present daemon. `instance` distinguishes it from any other; `pid` is its supervisor's."""

    instance: str
    pid: int
    version: str
    processes: Sequence[Process] = ()


def of_daemon(daemon: Daemon, told: ToldMachineEvents, wall: float) -> Iterator[Event]:
    """That it started, and which of its processes were started again."""
    restarts = told.restarts
    if told.instance != daemon.instance:
        restarts = {}
        yield {
            "at": wall, "kind": kinds.DAEMON_STARTED, "pid": daemon.pid, "version": daemon.version,
            "unclean": told.instance is not None, "instance": daemon.instance,
        }  # fmt: skip
    for each in daemon.processes:
        if each.pid and each.restarts > restarts.get(each.name, 0):
            yield {
                "at": each.started_at, "kind": kinds.WORKER_RESTARTED, "worker": each.name, "pid": each.pid,
                "restarts": each.restarts,
            }  # fmt: skip


def of_end(daemon: Daemon, wall: float) -> Event:
    """That the daemon ends in an orderly way."""
    return {"at": wall, "kind": kinds.DAEMON_STOPPED, "pid": daemon.pid, "version": daemon.version}


def of_gpus(gpus: Sequence[Gpu], admin: AdminState, told: ToldMachineEvents, wall: float) -> Iterator[Event]:
    """What changed since; `gpus` are all that there are."""
    now = {gpu.uuid: gpu for gpu in gpus}
    for uuid, mark in told.gpus.items():
        if uuid not in now:
            yield {"at": wall, "kind": kinds.GPU_VANISHED, "gpu": mark.gpu, "uuid": uuid}
    for gpu in gpus:
        drained_as = admin.drained_as(gpu)
        mark = GpuMark(gpu.index, gpu.fault is not None, drained_as is not None)
        before = told.gpus.get(gpu.uuid)
        if mark == before:
            continue
        head = {"gpu": gpu.index, "uuid": gpu.uuid, "model": gpu.model, "memory_mb": gpu.memory_mb}
        if before is None or before.gpu != gpu.index:
            yield {"at": wall, "kind": kinds.GPU_APPEARED, **head}
        was_faulty, was_drained = before is not None and before.faulty, before is not None and before.drained
        if mark.faulty != was_faulty:
            kind = kinds.GPU_FAULTY if mark.faulty else kinds.GPU_RECOVERED
            yield {"at": wall, "kind": kind, **head, "reason": gpu.fault}
        if mark.drained != was_drained:
            kind = kinds.GPU_DRAINED if mark.drained else kinds.GPU_UNDRAINED
            reason = None if drained_as is None else admin.drained[drained_as]
            yield {"at": wall, "kind": kind, **head, "reason": reason}


def of_reservations(
    records: Mapping[int, Raw], windows: Sequence[Window], told: ToldMachineEvents, wall: float
) -> Iterator[Event]:
    """What changed since. `windows`: the present or else the next one of each that is not over, at the time `wall`.

    A window of a repeating reservation that passed while nobody looked is not told.
    """
    if not records and not told.reservations:
        return
    present = {window.id: window for window in windows if window.start <= wall < window.end}
    for one in reservations.decode_all(records):
        before = told.reservations.get(one.id)
        yield from _of_reservation(one, digest(records[one.id]), present.get(one.id), before, wall)
    for number, mark in told.reservations.items():
        if number not in records and not mark.over:
            at = min(wall, mark.end or wall)
            yield {"at": at, "kind": kinds.RESERVATION_ENDED, "reservation": number}


def digest(record: Raw) -> int:
    """By which a change is noticed that is no cancellation."""
    fields = [(name, value) for name, value in sorted(record.items()) if name != "cancelled_at"]
    return zlib.crc32(repr(fields).encode("utf-8", "surrogatepass"))


def _of_reservation(
    one: Reservation, now: int, window: Window | None, before: ReservationMark | None, wall: float
) -> Iterator[Event]:
    head = {
        "reservation": one.id, "user": one.user, "gpus": one.gpus or len(one.gpu_list or ()),
        "gpu_list": None if one.gpu_list is None else list(one.gpu_list), "start": one.start,
        "end": one.start + one.duration, "duration": one.duration, "repeat": one.repeat,
    }  # fmt: skip
    if before is None:
        yield {"at": one.created_at, "kind": kinds.RESERVATION_MADE, **head, "digest": now}
    elif before.digest != now:
        yield {"at": wall, "kind": kinds.RESERVATION_CHANGED, **head, "digest": now}
    mark = before or ReservationMark(now)
    if one.cancelled_at is not None and not mark.cancelled:
        yield {"at": one.cancelled_at, "kind": kinds.RESERVATION_CANCELLED, **head}
    begun = None if window is None else (window.start, window.end)
    ends_at = wall
    if begun is None and one.repeat is None and one.cancelled_at is None and one.start + one.duration <= wall:
        begun = one.start, one.start + one.duration  # it passed while nobody looked
        ends_at = begun[1]
    if not mark.over and (begun is None or begun[0] != mark.start):
        at = min(wall, mark.end or wall) if one.cancelled_at is None else one.cancelled_at
        yield {"at": at, "kind": kinds.RESERVATION_ENDED, **head, "start": mark.start, "end": at}
        mark = mark._replace(over=True)
    if begun is not None and begun[0] != mark.start:
        yield {"at": begun[0], "kind": kinds.RESERVATION_BEGAN, **head, "start": begun[0], "end": begun[1]}
        mark = mark._replace(start=begun[0], over=False)
    if window is None and not mark.over:
        yield {"at": ends_at, "kind": kinds.RESERVATION_ENDED, **head, "start": mark.start, "end": ends_at}
