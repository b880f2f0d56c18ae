import pytest
from stage import NOTHING_POSTED, now, slots_of
from support.clock import set_forward_and_back

from gflowd.effects.doorbell import FINDING
from gflowd.workers import reservation_timer


def test_without_edges_it_sleeps() -> None:
    timer = reservation_timer.ReservationTimer()
    for slots in (NOTHING_POSTED, slots_of()):
        turn = timer.tick(now(), slots)
        assert (turn.decision, turn.wake_at) == ((), None)
    timer.close()


def test_it_wakes_exactly_at_the_next_edge() -> None:
    timer = reservation_timer.ReservationTimer()
    slots = slots_of(edges=(1000.25, 2000.0))
    turn = timer.tick(now(wall=999.0, mono=50.0), slots)
    assert (turn.decision, turn.wake_at) == ((), 51.25)
    turn = timer.tick(now(wall=1000.25, mono=51.25), slots)
    assert (turn.decision, turn.wake_at) == ((1000.25,), 1051.0)
    turn = timer.tick(now(wall=2000.1, mono=1051.1), slots)
    assert (turn.decision, turn.wake_at) == ((1000.25, 2000.0), None)


def test_a_clock_that_is_set_moves_the_edges_with_it() -> None:
    timer = reservation_timer.ReservationTimer()
    slots = slots_of(edges=(1000.0,))
    assert timer.tick(now(wall=990.0, mono=50.0), slots).wake_at == 60.0
    assert timer.tick(now(wall=900.0, mono=51.0), slots).wake_at == 151.0
    assert timer.tick(now(wall=5000.0, mono=52.0), slots).decision == (1000.0,)
    assert timer.tick(now(wall=900.0, mono=53.0), slots).wake_at == pytest.approx(153.0)


def test_a_clock_that_is_set_wakes_it_and_it_wakes_the_scheduler() -> None:
    timer = reservation_timer.ReservationTimer()
    turn = timer.tick(now(), slots_of())
    assert (len(turn.descriptors), turn.rings) == (1, b"")
    set_forward_and_back()
    assert timer.tick(now(), slots_of()).rings == FINDING
    assert timer.tick(now(), slots_of()).rings == b""
    timer.close()
