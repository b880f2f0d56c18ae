from __future__ import annotations

from reserved import DAY, reservation

from gflowd.core.planning.reservation_calendar import HORIZON, ReservationCalendar
from gflowd.core.planning.reservations import encode
from gflowd.core.syntax import instants

RECORDS = {
    each.id: encode(each)
    for each in (
        reservation(1, start=100, duration=100),
        reservation(2, start=150, duration=10, cancelled_at=90),
        reservation(3, start=300, duration=50, repeat="daily"),
    )
}


def calendar() -> ReservationCalendar:
    made = ReservationCalendar(instants.zone("UTC"))
    made.take(RECORDS)
    return made


def test_an_empty_diary_has_nothing_to_come() -> None:
    empty = ReservationCalendar(None)
    empty.look(5)
    assert (empty.windows, empty.edges) == ([], ())


def test_each_look_tells_what_is_now_and_next() -> None:
    page = calendar()
    for wall, ids, edges in (
        (50, [1, 3], (100, 200, 300, 350)),
        (100, [1, 3], (200, 300, 350)),
        (199.9, [1, 3], (200, 300, 350)),
        (200, [3], (300, 350)),
        (350, [3], (DAY + 300, DAY + 350)),
    ):
        page.look(wall)
        assert ([window.id for window in page.windows], page.edges) == (ids, edges)


def test_what_was_taken_anew_is_looked_at_anew() -> None:
    page = calendar()
    page.look(50)
    page.take({})
    page.look(50)
    assert (page.windows, page.edges) == ([], ())


def test_a_clock_that_is_set_neither_loses_nor_repeats_a_reservation() -> None:
    page = calendar()
    for wall in (50, 400, 150, 99, 100, 5 * DAY + 320, 120):
        fresh = calendar()
        fresh.look(wall)
        page.look(wall)
        assert (page.windows, page.edges) == (fresh.windows, fresh.edges)
        assert sum(window.id == 1 and window.start <= wall < window.end for window in page.windows) == (
            100 <= wall < 200
        )


def test_between_edges_a_look_finds_the_very_same() -> None:
    page = calendar()
    page.look(50)
    before = page.windows
    page.look(99)
    assert page.windows is before


def test_what_comes_again_is_laid_out_up_to_the_horizon_and_what_comes_once_whenever_it_does() -> None:
    page = ReservationCalendar(instants.zone("UTC"))
    several = (
        reservation(1, start=100, duration=100),
        reservation(2, start=90 * DAY, duration=100),
        reservation(3, start=300, duration=50, repeat="weekly"),
        reservation(4, start=90 * DAY, duration=50, repeat="daily"),
        reservation(5, start=HORIZON + 50, duration=50),
    )
    page.take({each.id: encode(each) for each in several})
    assert page.horizon == float("inf")
    page.look(50)
    assert page.horizon == HORIZON + 50
    assert [(window.id, window.start, window.again) for window in page.coming] == [
        (1, 100, False),
        *((3, 300 + 7 * DAY * week, True) for week in range(5)),
        (5, HORIZON + 50, False),
        (2, 90 * DAY, False),
    ]
    page.look(60)
    assert page.horizon == HORIZON + 50, "until an edge has passed"
    page.look(100)
    assert page.horizon == HORIZON + 100
