"""Which events GPUs, reservations and the daemon make: each change once, also when nobody looked for a while."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.events import machine_events
from gflowd.core.events.machine_events import Daemon, Process
from gflowd.core.events.told_events import ToldEvents, restored
from gflowd.core.gpu.admin_state import AdminState
from gflowd.core.gpu.device import Gpu
from gflowd.core.planning import reservations
from gflowd.core.planning.reservation_calendar import ReservationCalendar
from gflowd.core.planning.reservations import Reservation

GPU = Gpu(index=0, uuid="GPU-a", model="A100", memory_mb=40000)
OTHER = Gpu(index=1, uuid="GPU-b", model="A100", memory_mb=40000)
ONCE = Reservation(id=1, user="alice", start=100.0, duration=50.0, created_at=10.0, created_by="bob", gpus=2)
DAILY = ONCE.replace(id=2, gpus=0, gpu_list=(0, 3), repeat="daily")
DAY = 86400.0


class Teller:
    """Takes what it tells."""

    def __init__(self) -> None:
        self.told = ToldEvents()

    def tell(self, events: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
        found = list(events)
        for event in found:
            self.told.take(event)
        assert restored(self.told.checkpoint()).checkpoint() == self.told.checkpoint()
        return found

    def gpus(self, *gpus: Gpu, **drained: str | None) -> list[tuple[str, int]]:
        admin = AdminState(drained={f"GPU-{uuid}": reason for uuid, reason in drained.items()})
        found = self.tell(machine_events.of_gpus(gpus, admin, self.told.machine, 5.0))
        return [(event["kind"].removeprefix("gpu_"), event["gpu"]) for event in found]

    def reservations(self, wall: float, *standing: Reservation) -> list[tuple[str, float]]:
        records: Mapping[int, Any] = {one.id: reservations.encode(one) for one in standing}
        calendar = ReservationCalendar(UTC)
        calendar.take(records)
        calendar.look(wall)
        told = self.told.machine
        found = self.tell(machine_events.of_reservations(records, calendar.windows, told, wall))
        told.forget(list(records))
        return [(event["kind"].removeprefix("reservation_"), event["at"]) for event in found]


def test_a_gpu_is_told_of_when_it_comes_fails_recovers_is_drained_and_goes() -> None:
    teller = Teller()
    assert teller.gpus(GPU, OTHER) == [("appeared", 0), ("appeared", 1)]
    assert teller.gpus(GPU, OTHER) == []
    assert teller.gpus(GPU.replace(fault="lost"), OTHER, b="fan") == [("faulty", 0), ("drained", 1)]
    assert teller.gpus(GPU.replace(fault="lost, and more"), OTHER, b=None) == []
    assert teller.gpus(GPU, OTHER) == [("recovered", 0), ("undrained", 1)]
    assert teller.gpus(OTHER.replace(index=0)) == [("vanished", 0), ("appeared", 0)]
    assert teller.gpus(OTHER.replace(index=0), GPU.replace(index=1, fault="lost"), a=None) == [
        ("appeared", 1), ("faulty", 1), ("drained", 1),
    ]  # fmt: skip
    event = next(machine_events.of_gpus([GPU], AdminState(), ToldEvents().machine, 5.0))
    assert event == {
        "at": 5.0, "kind": "gpu_appeared", "gpu": 0, "uuid": "GPU-a", "model": "A100", "memory_mb": 40000,
    }  # fmt: skip


def test_a_reservation_is_told_of_from_its_making_to_its_end() -> None:
    teller = Teller()
    assert teller.reservations(20.0) == []
    assert teller.reservations(20.0, ONCE) == [("made", 10.0)]
    assert teller.reservations(30.0, ONCE) == []
    assert teller.reservations(40.0, ONCE.replace(gpus=3)) == [("changed", 40.0)]
    assert teller.reservations(101.0, ONCE.replace(gpus=3)) == [("began", 100.0)]
    assert teller.reservations(149.0, ONCE.replace(gpus=3)) == []
    assert teller.reservations(151.0, ONCE.replace(gpus=3)) == [("ended", 150.0)]
    assert teller.reservations(500.0, ONCE.replace(gpus=3)) == []
    assert teller.reservations(900.0) == []
    assert teller.told.machine.reservations == {}
    found = list(machine_events.of_reservations({2: reservations.encode(DAILY)}, (), ToldEvents().machine, 20.0))
    assert found[0].items() >= {
        "reservation": 2, "user": "alice", "gpus": 2, "gpu_list": [0, 3], "start": 100.0, "end": 150.0,
        "repeat": "daily",
    }.items()  # fmt: skip


def test_a_reservation_that_passed_unseen_is_told_of_whole() -> None:
    teller = Teller()
    assert teller.reservations(1000.0, ONCE) == [("made", 10.0), ("began", 100.0), ("ended", 150.0)]
    assert teller.reservations(1001.0, ONCE) == []
    begun = Teller()
    begun.reservations(110.0, ONCE)
    assert begun.reservations(1000.0, ONCE) == [("ended", 150.0)]
    gone = Teller()
    gone.reservations(110.0, ONCE)
    assert gone.reservations(120.0) == [("ended", 120.0)], "its record is gone"


def test_a_cancelled_reservation_ends_then_if_it_had_begun() -> None:
    teller = Teller()
    teller.reservations(50.0, ONCE)
    assert teller.reservations(60.0, ONCE.replace(cancelled_at=55.0)) == [("cancelled", 55.0)]
    begun = Teller()
    begun.reservations(110.0, ONCE, DAILY)
    assert begun.reservations(125.0, ONCE.replace(cancelled_at=120.0), DAILY.replace(cancelled_at=121.0)) == [
        ("cancelled", 120.0), ("ended", 120.0), ("cancelled", 121.0), ("ended", 121.0),
    ]  # fmt: skip
    assert begun.reservations(160.0, ONCE.replace(cancelled_at=120.0), DAILY.replace(cancelled_at=121.0)) == []


def test_each_window_of_a_repeating_reservation_is_told_of() -> None:
    """But those that passed while nobody looked."""
    teller = Teller()
    assert teller.reservations(20.0, DAILY) == [("made", 10.0)]
    assert teller.reservations(101.0, DAILY) == [("began", 100.0)]
    assert teller.reservations(DAY + 101, DAILY) == [("ended", 150.0), ("began", DAY + 100)]
    assert teller.reservations(DAY + 151, DAILY) == [("ended", DAY + 150)]
    assert teller.reservations(5 * DAY, DAILY) == []
    assert teller.reservations(5 * DAY + 120, DAILY) == [("began", 5 * DAY + 100)]


@given(st.lists(st.floats(0, 3 * DAY), max_size=8), st.none() | st.floats(20, 2 * DAY))
def test_what_began_ends_and_nothing_comes_twice(looks: list[float], cancelled_at: float | None) -> None:
    teller, found = Teller(), []
    for wall in [*sorted(looks), 3 * DAY + 151]:
        is_cancelled = cancelled_at is not None and wall >= cancelled_at
        one, daily = (each.replace(cancelled_at=cancelled_at if is_cancelled else None) for each in (ONCE, DAILY))
        found += teller.reservations(wall, one, daily)
    kinds = [kind for kind, _ in found]
    assert kinds.count("made") == 2
    assert kinds.count("began") == kinds.count("ended")
    began = [at for kind, at in found if kind == "began"]
    assert len({*began}) >= len(began) - 1, "both begin at once the first time"


def test_a_daemon_and_its_workers_are_told_of() -> None:
    teller = Teller()

    def look(daemon: Daemon) -> list[str]:
        return [event["kind"] for event in teller.tell(machine_events.of_daemon(daemon, teller.told.machine, 9.0))]

    first = Daemon("1.2.b", 1, "0.1.0", [Process("gpu_poller", 7, 0, 1.0)])
    assert look(first) == ["daemon_started"]
    assert look(first) == []
    dead = Daemon("1.2.b", 1, "0.1.0", [Process("gpu_poller", 0, 1, 1.0)])
    assert look(dead) == [], "it is not up yet"
    again = Daemon("1.2.b", 1, "0.1.0", [Process("gpu_poller", 8, 1, 2.0)])
    assert look(again) == ["worker_restarted"]
    assert look(again) == []
    killed = Daemon("3.4.b", 3, "0.1.0", [Process("gpu_poller", 9, 0, 3.0)])
    (event,) = teller.tell(machine_events.of_daemon(killed, teller.told.machine, 9.0))
    assert event["unclean"] is True
    teller.tell(iter([machine_events.of_end(killed, 10.0)]))
    (event,) = teller.tell(machine_events.of_daemon(Daemon("5.6.b", 5, "0.1.0"), teller.told.machine, 9.0))
    assert event["unclean"] is False
