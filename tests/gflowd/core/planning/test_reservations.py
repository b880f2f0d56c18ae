from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reserved import DAY, HOUR, ZONES, at, reservation, reservations_strategy

from gflowd.core.planning.reservations import (
    ACTIVE,
    CANCELLED,
    COMPLETED,
    MOST_EDGES,
    PENDING,
    Window,
    decode_all,
    edges,
    encode,
    long_over,
    reserved_now,
    status,
    upcoming,
    windows,
)
from gflowd.core.syntax import instants

VIENNA = instants.zone("Europe/Vienna")


def spans(found: list[Window]) -> list[tuple[float, float]]:
    return [(window.start, window.end) for window in found]


def test_a_reservation_has_one_window() -> None:
    one = reservation(3, start=1000.5, duration=60, gpu_list=(0, 2))
    expected = [Window(id=3, user="ada", start=1000.5, end=1060.5, gpus=0, gpu_list=(0, 2))]
    assert windows([one], 0, 1000.5, None) == []
    assert windows([one], 0, 1000.6, None) == expected
    assert windows([one], 1060.4, 2000, None) == expected
    assert windows([one], 1060.5, 2000, None) == []


def test_windows_come_in_the_order_of_their_starts() -> None:
    several = [reservation(1, start=300), reservation(2, start=100), reservation(3, start=200)]
    assert [window.id for window in windows(several, 0, 1000, None)] == [2, 3, 1]


def test_a_daily_reservation_stays_at_its_time_of_day_when_the_clocks_change() -> None:
    daily = reservation(1, start=at("2025-03-28 9:00"), duration=8 * HOUR, repeat="daily")
    found = windows([daily], at("2025-03-28 0:00"), at("2025-04-01 0:00"), VIENNA)
    assert spans(found) == [
        (at(f"2025-{day} 9:00"), at(f"2025-{day} 17:00")) for day in ("03-28", "03-29", "03-30", "03-31")
    ]
    assert found[2].start - found[1].start == 23 * HOUR


def test_a_weekly_reservation_comes_each_week() -> None:
    weekly = reservation(1, start=at("2025-10-20 22:00"), duration=DAY, repeat="weekly")
    found = windows([weekly], at("2025-10-01"), at("2025-11-04"), VIENNA)
    assert [window.start for window in found] == [
        at("2025-10-20 22:00"),
        at("2025-10-27 22:00"),
        at("2025-11-03 22:00"),
    ]


def test_a_night_over_a_clock_change_is_an_hour_shorter_or_longer() -> None:
    nightly = reservation(1, start=at("2025-01-01 22:00"), duration=8 * HOUR, repeat="daily")
    spring, autumn = (
        windows([nightly], at(f"{day} 23:00"), at(f"{day} 23:01"), VIENNA) for day in ("2025-03-29", "2025-10-25")
    )
    assert [window.end - window.start for window in (*spring, *autumn)] == [7 * HOUR, 9 * HOUR]


def test_what_begins_in_an_hour_that_is_skipped_begins_when_the_clock_has_jumped() -> None:
    daily = reservation(1, start=at("2025-03-29 2:15"), duration=HOUR, repeat="daily")
    (window,) = windows([daily], at("2025-03-30 0:00"), at("2025-03-30 12:00"), VIENNA)
    assert (window.start, window.end) == (at("2025-03-30 3:00"), at("2025-03-30 3:15"))
    lost = reservation(1, start=at("2025-03-29 2:15"), duration=HOUR / 2, repeat="daily")
    assert windows([lost], at("2025-03-30 0:00"), at("2025-03-30 12:00"), VIENNA) == []


def test_what_begins_in_an_hour_that_comes_twice_begins_the_first_time() -> None:
    daily = reservation(1, start=at("2025-10-25 2:15"), duration=HOUR / 2, repeat="daily")
    (window,) = windows([daily], at("2025-10-26 0:00"), at("2025-10-26 12:00"), VIENNA)
    assert (window.start, window.end) == (at("2025-10-26T02:15:00+02:00"), at("2025-10-26T02:45:00+02:00"))
    second = reservation(1, start=at("2025-10-26T02:15:00+01:00"), duration=2 * HOUR, repeat="daily")
    (window,) = windows([second], at("2025-10-26 0:00"), at("2025-10-26 12:00"), VIENNA)
    assert (window.start, window.end) == (at("2025-10-26T02:15:00+01:00"), at("2025-10-26 4:15"))


def test_a_day_that_a_zone_left_out_has_no_window() -> None:
    apia = instants.zone("Pacific/Apia")  # there was no 30 December 2011
    start = instants.parse("2011-12-28 9:00", 0, apia)
    daily = reservation(1, start=start, duration=HOUR, repeat="daily")
    found = windows([daily], start, start + 4 * DAY, apia)
    assert [window.start - start for window in found] == [0, DAY, 2 * DAY, 3 * DAY]
    assert [datetime.fromtimestamp(window.start, apia).day for window in found] == [28, 29, 31, 1]


def test_the_local_zone_serves_where_none_is_named() -> None:
    start = datetime(2025, 6, 1, 9).timestamp()  # noqa: DTZ001 -- the local zone is meant
    daily = reservation(1, start=start, duration=HOUR, repeat="daily")
    found = windows([daily], start, start + 3 * DAY, None)
    assert [datetime.fromtimestamp(window.start).hour for window in found] == [9, 9, 9]  # noqa: DTZ006


def test_a_cancelled_reservation_ends_there_and_then() -> None:
    one = reservation(1, start=100, duration=100, cancelled_at=150)
    assert spans(windows([one], 0, 1000, None)) == [(100, 150)]
    assert windows([one], 150, 1000, None) == []
    assert windows([one.replace(cancelled_at=50.0)], 0, 1000, None) == []
    daily = reservation(1, start=100, duration=100, repeat="daily", cancelled_at=DAY + 150)
    assert len(windows([daily], 0, 9 * DAY, VIENNA)) == 2
    assert upcoming([one, daily], 0, None) == []
    assert edges([one, daily], 0, None) == []


def test_upcoming_has_the_present_window_or_the_next() -> None:
    several = [
        reservation(1, start=50, duration=100),
        reservation(2, start=100, repeat="daily"),
        reservation(3, duration=100),
    ]
    found = upcoming(several, 100.0, VIENNA)
    assert [(window.id, window.start) for window in found] == [(1, 50), (2, 100)]
    assert [window.start for window in upcoming(several, 100.0 + HOUR, VIENNA)] == [100 + DAY]
    assert [(window.id, window.start) for window in upcoming(several, 100.0, VIENNA, count=2)] == [
        (1, 50), (2, 100), (2, 100 + DAY),
    ]  # fmt: skip


def test_the_edges_are_the_next_starts_and_ends() -> None:
    several = [reservation(1, start=50, duration=100), reservation(2, start=150, duration=50)]
    assert edges(several, 0, None) == [50, 150, 200]
    assert edges(several, 50, None) == [150, 200]
    assert edges(several, 200, None) == []


def test_of_many_edges_only_the_first_are_told() -> None:
    assert len(edges([reservation(n, start=n * 1000) for n in range(1, 100)], 0, None)) == MOST_EDGES


def test_the_status_follows_from_the_time() -> None:
    one = reservation(1, start=100, duration=100)
    assert [status(one, now) for now in (99.9, 100, 199.9, 200)] == [PENDING, ACTIVE, ACTIVE, COMPLETED]
    assert status(one.replace(cancelled_at=150.0), 120) == CANCELLED
    daily = reservation(1, start=at("2025-03-29 9:00"), duration=HOUR, repeat="daily")
    times = ("2025-03-28 9:00", "2025-03-29 9:00", "2025-03-29 10:00", "2025-03-30 9:30", "2035-07-01 9:30")
    assert [status(daily, at(time), VIENNA) for time in times] == [PENDING, ACTIVE, PENDING, ACTIVE, ACTIVE]


def test_long_over_is_what_ended_or_was_cancelled_before() -> None:
    several = [
        reservation(1, duration=100),
        reservation(2, duration=100, repeat="daily"),
        reservation(3, start=9000, cancelled_at=99),
        reservation(4, duration=101, cancelled_at=102),
    ]
    assert [each.id for each in long_over(several, 101)] == [1, 3]


@given(reservations_strategy)
def test_what_was_encoded_reads_back_the_same(several: list) -> None:  # type: ignore[type-arg]
    records = {each.id: json.loads(json.dumps({**encode(each), "a later field": 1})) for each in several}
    assert decode_all(records) == sorted(several, key=lambda each: each.id)


moments = st.floats(at("2024-12-20"), at("2026-12-31"))


@given(reservations_strategy, moments, st.sampled_from(ZONES))
def test_between_two_edges_nothing_changes(several: list, now: float, name: str) -> None:  # type: ignore[type-arg]
    zone = instants.zone(name)
    edge = next(iter(edges(several, now, zone)), now + 100 * DAY)
    standing = [each for each in several if each.cancelled_at is None]
    during = windows(standing, now, edge, zone)
    assert all(window.start <= now and window.end >= edge for window in during)
    if edge < now + 100 * DAY:
        before = {window.id for window in during}
        after = {window.id for window in windows(standing, edge, edge + 1e-5, zone) if window.start <= edge}
        ended_and_begun = {window.id for window in during if window.end == edge}
        assert before != after or ended_and_begun


@given(reservations_strategy, moments, st.sampled_from(ZONES))
def test_a_reservation_is_active_where_a_window_of_it_is(several: list, now: float, name: str) -> None:  # type: ignore[type-arg]
    zone = instants.zone(name)
    for each in several:
        found = [window for window in windows([each], now, now + 1, zone) if window.start <= now < window.end]
        assert len(found) <= 1
        if each.cancelled_at is None:
            assert (status(each, now, zone) == ACTIVE) == bool(found)


@given(st.datetimes(datetime(2024, 12, 25), datetime(2026, 12, 1)), st.integers(0, 60), st.sampled_from(ZONES))  # noqa: DTZ001
def test_each_window_begins_at_the_time_of_day_of_the_first(first: datetime, day: int, name: str) -> None:
    zone = instants.zone(name)
    start = first.replace(tzinfo=zone).timestamp()
    first = datetime.fromtimestamp(start, zone).replace(tzinfo=None, fold=0)
    daily = reservation(1, start=start, duration=HOUR, repeat="daily")
    wanted = first + timedelta(days=day)
    exists = datetime.fromtimestamp(wanted.replace(tzinfo=zone).timestamp(), zone).replace(tzinfo=None) == wanted
    if not exists:
        return
    begins = max(start, min(wanted.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1)))
    assert begins in [window.start for window in windows([daily], begins - DAY, begins + 1, zone)] or day == 0


@pytest.mark.parametrize("name", ZONES)
def test_no_window_is_lost_or_comes_twice_however_time_is_cut(name: str) -> None:
    zone = instants.zone(name)
    several = [
        reservation(1, start=at("2025-01-01 2:30"), duration=HOUR, repeat="daily"),
        reservation(2, start=at("2025-01-04 23:00"), duration=6.5 * DAY, repeat="weekly"),
    ]
    whole = windows(several, at("2025-01-01"), at("2026-01-01"), zone)
    cut = {
        window
        for hour in range(0, 365 * 24, 5)
        for window in windows(several, at("2025-01-01") + hour * HOUR, at("2025-01-01") + (hour + 5) * HOUR, zone)
    }
    assert sorted(cut, key=lambda window: (window.start, window.end, window.id)) == whole


def test_a_window_says_whether_there_is_always_another() -> None:
    once, daily = reservation(1, start=100, duration=100), reservation(2, start=100, duration=100, repeat="daily")
    assert [window.again for window in upcoming([once, daily, daily.replace(id=3)], 0, VIENNA)] == [False, True, True]
    over = daily.replace(cancelled_at=2.0 * DAY)
    assert {window.again for window in windows([over], 0, 9 * DAY, VIENNA)} == {False}


def test_a_gpu_is_reserved_now_where_an_active_window_names_it() -> None:
    several = [
        reservation(1, start=100, duration=50, gpu_list=(0, 2)),
        reservation(2, start=150, duration=50, gpu_list=(1,), user="bob"),
        reservation(3, start=100, duration=99, gpus=1),
    ]
    found = windows(several, 0, 1000, None)
    assert reserved_now(found, 99) == {}
    assert reserved_now(found, 100) == {0: "ada", 2: "ada"}
    assert reserved_now(found, 150) == {1: "bob"}
