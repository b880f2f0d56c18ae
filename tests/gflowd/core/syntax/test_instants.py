from __future__ import annotations

import os
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.errors import Refused
from gflowd.core.syntax import instants

VIENNA = instants.zone("Europe/Vienna")
NOW = datetime(2025, 1, 31, 17, 30, 15, 250000, tzinfo=UTC).timestamp()  # 18:30:15.25 in Vienna


def utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix("+00:00")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("19:00", "2025-01-31T18:00:00"),
        ("18:30", "2025-02-01T17:30:00"),
        ("18:30:16", "2025-01-31T17:30:16"),
        ("9:05", "2025-02-01T08:05:00"),
        ("today 9:00", "2025-01-31T08:00:00"),
        ("Tomorrow  9:00", "2025-02-01T08:00:00"),
        ("tomorrow", "2025-01-31T23:00:00"),
        ("yesterday", "2025-01-29T23:00:00"),
        ("2025-07-01 12:00", "2025-07-01T10:00:00"),
        ("2025-07-01T12:00:07", "2025-07-01T10:00:07"),
        ("2025-07-01", "2025-06-30T22:00:00"),
        ("2025-07-01T12:00:00Z", "2025-07-01T12:00:00"),
        ("2025-07-01t12:00:00.500z", "2025-07-01T12:00:00.500000"),
        ("2025-07-01T12:00:00+05:30", "2025-07-01T06:30:00"),
        ("2025-07-01 12:00:00-0100", "2025-07-01T13:00:00"),
        ("now", "2025-01-31T17:30:15.250000"),
        ("now+2h", "2025-01-31T19:30:15.250000"),
        ("now + 90s", "2025-01-31T17:31:45.250000"),
        ("NOW-1d", "2025-01-30T17:30:15.250000"),
    ],
)
def test_what_an_instant_means(text: str, meant: str) -> None:
    assert utc(instants.parse(text, NOW, VIENNA)) == meant


@pytest.mark.parametrize(
    "text",
    ["", "x", "25:00", "9", "9:60", "9:00:99", "2025-02-30", "2025-13-01 9:00", "now+", "now+x", "nowhere",
     "tomorrow 25:00", "tomorrow now", "someday 9:00", "2025-07-01T12Q:00Z",
     "0000-01-01", "2025-07-01 noon", "1\u0660:00"],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="is not an instant"):
        instants.parse(text, NOW, VIENNA)


def test_a_skipped_time_is_taken_as_much_later() -> None:
    assert utc(instants.parse("2025-03-30 02:30", NOW, VIENNA)) == "2025-03-30T01:30:00"


def test_of_a_repeated_time_the_first_is_meant() -> None:
    assert utc(instants.parse("2025-10-26 02:30", NOW, VIENNA)) == "2025-10-26T00:30:00"


def test_a_time_of_day_alone_is_the_second_of_a_repeated_one_when_the_first_is_over() -> None:
    first = datetime(2025, 10, 26, 0, 40, tzinfo=UTC).timestamp()  # 02:40 in summer time
    assert utc(instants.parse("02:50", first, VIENNA)) == "2025-10-26T00:50:00"
    assert utc(instants.parse("02:30", first, VIENNA)) == "2025-10-26T01:30:00"
    assert utc(instants.parse("02:30", first + 3600, VIENNA)) == "2025-10-27T01:30:00"


@given(st.integers(-4000, 4000), st.integers(0, 59))
def test_near_a_clock_change_a_time_of_day_is_its_next_occurrence(away: int, minute: int) -> None:
    for change in (datetime(2025, 10, 26, 1, tzinfo=UTC), datetime(2025, 3, 30, 1, tzinfo=UTC)):
        now = change.timestamp() + away
        found = instants.parse(f"2:{minute:02}", now, VIENNA)
        whole = range(int(now) + 1, int(found))
        assert not any(
            second % 60 == 0 and datetime.fromtimestamp(second, VIENNA).strftime("%H:%M") == f"02:{minute:02}"
            for second in whole
        )


def test_tomorrow_stays_the_same_time_of_day_over_a_clock_change() -> None:
    before = datetime(2025, 3, 29, 20, 0, tzinfo=UTC).timestamp()
    assert utc(instants.parse("tomorrow 9:00", before, VIENNA)) == "2025-03-30T07:00:00"
    assert utc(instants.parse("9:00", before, VIENNA)) == "2025-03-30T07:00:00"


def test_without_a_zone_the_machine_s_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "TZ", "America/New_York")
    time.tzset()
    try:
        assert utc(instants.parse("2025-07-01 12:00", NOW, instants.zone(None))) == "2025-07-01T16:00:00"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("name", ["Nowhere/Land", "../etc/passwd", "", "Europe"])
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="not a time zone"):
        instants.zone(name)


@given(st.integers(min_value=0, max_value=4102444800), st.integers(0, 23), st.integers(0, 59))
def test_a_time_of_day_is_within_the_coming_day(now: int, hour: int, minute: int) -> None:
    found = instants.parse(f"{hour}:{minute:02}", now, VIENNA)
    assert now < found <= now + 25 * 3600


@given(st.text())
def test_no_text_does_more_than_be_refused(text: str) -> None:
    try:
        assert isinstance(instants.parse(text, NOW, VIENNA), float)
    except Refused:
        pass


def test_the_name_of_a_time_zone_is_not_searched_for_at_any_length() -> None:
    with pytest.raises(Refused):
        instants.zone("a/" * 1000)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1h", "2025-01-31T16:30:15.250000"),
        ("7d", "2025-01-24T17:30:15.250000"),
        (" 1D12h  AGO ", "2025-01-30T05:30:15.250000"),
        ("90s ago", "2025-01-31T17:28:45.250000"),
        ("9:00", "2025-01-31T08:00:00"),
        ("18:30", "2025-01-31T17:30:00"),
        ("19:00", "2025-01-30T18:00:00"),
        ("tomorrow", "2025-01-31T23:00:00"),
        ("2025-01-24", "2025-01-23T23:00:00"),
        ("now-2h", "2025-01-31T15:30:15.250000"),
    ],
)
def test_what_a_past_instant_means(text: str, meant: str) -> None:
    assert utc(instants.parse_past(text, NOW, VIENNA)) == meant


def test_of_a_repeated_time_the_latest_that_is_over_is_meant() -> None:
    second = datetime(2025, 10, 26, 1, 40, tzinfo=UTC).timestamp()  # 02:40 in winter time
    assert utc(instants.parse_past("02:30", second, VIENNA)) == "2025-10-26T01:30:00"
    assert utc(instants.parse_past("02:50", second, VIENNA)) == "2025-10-26T00:50:00"


@pytest.mark.parametrize("text", ["", "7", "25:00", "d", "7x", "-7d", "999999999999d", "7d8", "7 d", "ago"])
def test_any_other_past_instant_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        instants.parse_past(text, NOW, VIENNA)
