from __future__ import annotations

import sys
from datetime import datetime
from itertools import pairwise
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.errors import Refused
from gflowd.core.syntax import instants, recurrence

VIENNA = instants.zone("Europe/Vienna")
HOUR, DAY = 3600, 86400


def at(text: str, zone: str = "Europe/Vienna", fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=instants.zone(zone), fold=fold).timestamp()


def times(rule: str, after: float, count: int, zone: str = "Europe/Vienna", due: float = 0.0) -> list[float]:
    found: list[float] = []
    for _ in range(count):
        following = recurrence.following(rule, due, found[-1] if found else after, instants.zone(zone))
        assert following is not None
        found.append(following)
    return found


def test_daily_comes_at_the_same_time_of_each_day() -> None:
    assert times("daily 02:00", at("2026-01-31 01:00"), 3) == [
        at(f"2026-{day} 02:00") for day in ("01-31", "02-01", "02-02")
    ]
    assert times("daily 2:00", at("2026-01-31 02:00"), 1) == [at("2026-02-01 02:00")]
    assert times("Daily 23:59:59", at("2026-01-31 01:00"), 1) == [at("2026-01-31 23:59:59")]


def test_weekly_comes_on_the_days_that_are_named() -> None:
    found = times("weekly mon,Friday 18:30", at("2026-01-01 00:00"), 3)
    assert found == [at(f"2026-01-{day} 18:30") for day in ("02", "05", "09")]


def test_every_counts_from_a_time_when_it_was_due_whatever_the_clocks_show() -> None:
    due = at("2026-03-28 20:00")
    assert times("every 6h", due, 3, due=due) == [due + 6 * HOUR, due + 12 * HOUR, due + 18 * HOUR]
    assert times("every 6h", due + 7 * HOUR, 1, due=due) == [due + 12 * HOUR]
    assert times("every 30", due + 1, 1, due=due) == [due + HOUR / 2]
    assert times("every 6h", due - 7 * HOUR, 1, due=due) == [due + 6 * HOUR], "never before it was due"


@given(st.floats(0, 2e9), st.floats(1, 1e6), st.floats(0, 1e7))
def test_the_next_of_every_is_later_and_no_more_than_one_away(due: float, length: float, since: float) -> None:
    found = recurrence.following(f"every {length:.3f}s", due, due + since, None)
    assert found is not None
    assert due + since < found <= due + since + float(f"{length:.3f}") * 1.001 + 1e-3


def test_cron_words_are_read_as_cron_reads_them() -> None:
    found = times("30 2 * * mon-fri", at("2026-01-02 03:00"), 2)
    assert found == [at("2026-01-05 02:30"), at("2026-01-06 02:30")]
    assert times("0 0 29 2 *", at("2026-01-01 00:00"), 1) == [at("2028-02-29 00:00")]


@pytest.mark.parametrize("rule", ["daily 02:30", "weekly sun,mon 02:30", "30 2 * * *"])
def test_a_time_that_a_clock_change_skips_is_the_moment_of_the_change_once(rule: str) -> None:
    assert times(rule, at("2026-03-28 12:00"), 2) == [at("2026-03-29 03:00"), at("2026-03-30 02:30")]


def test_several_times_that_a_clock_change_skips_come_once_together() -> None:
    found = times("*/15 2 * * *", at("2026-03-29 01:59"), 2)
    assert found == [at("2026-03-29 03:00"), at("2026-03-30 02:00")]


@pytest.mark.parametrize("rule", ["daily 02:30", "weekly sun,mon 02:30", "30 2 * * *"])
def test_a_time_that_a_clock_change_repeats_comes_once(rule: str) -> None:
    assert times(rule, at("2026-10-24 12:00"), 2) == [at("2026-10-25 02:30"), at("2026-10-26 02:30")]
    between = at("2026-10-25 02:10", fold=1)
    assert times(rule, between, 1) == [at("2026-10-26 02:30")], "the second time round it is over"


@given(
    st.sampled_from(["daily 02:30", "weekly tue,sun 02:00", "*/20 * * * *", "15 1-3 * * *"]),
    st.sampled_from(["Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]),
    st.integers(1_290_000_000, 1_350_000_000),
)
def test_each_time_is_later_than_the_one_before_and_shows_what_the_rule_says(rule: str, zone: str, start: int) -> None:
    found = times(rule, start, 5, zone)
    assert all(one < other for one, other in pairwise([start, *found]))
    assert all(times(rule, each - 1, 1, zone) == [each] for each in found)


def test_the_first_may_be_now() -> None:
    two = at("2026-01-31 02:00")
    assert recurrence.first("daily 02:00", two, VIENNA) == two
    assert recurrence.first("0 2 * * *", two, VIENNA) == two
    assert recurrence.first("daily 02:00", two + 1, VIENNA) == two + DAY
    assert recurrence.first("every 6h", two + 1, VIENNA) == two + 1


def test_the_calendar_ends() -> None:
    last = datetime(9999, 12, 31, 3, tzinfo=VIENNA).timestamp()
    assert recurrence.following("daily 02:00", 0.0, last, VIENNA) is None
    assert recurrence.following("0 2 31 12 *", 0.0, last, VIENNA) is None


@pytest.mark.parametrize("rule", ["every 0s", "every 0", "every 0.000000000001s", "every 0.5s"])
def test_what_comes_too_often_is_not_followed_either(rule: str) -> None:
    with pytest.raises(Refused, match="too often"):
        recurrence.following(rule, 1.7e9, 1.7e9, VIENNA)


def test_a_rule_is_kept_with_single_spaces() -> None:
    assert recurrence.checked("  daily   02:00 ") == "daily 02:00"
    assert recurrence.checked("0  2 * *  1-5") == "0 2 * * 1-5"
    assert recurrence.checked("every 6h") == "every 6h"


@pytest.mark.parametrize(
    "text",
    [
        "", "daily", "daily 25:00", "daily 2", "daily 02:60", "dailyy 02:00", "weekly 02:00", "weekly mon",
        "weekly mo 02:00", "weekly mon,, 02:00", "weekly ,mon 02:00", "weekly monfri 02:00", "weekly month 02:00",
        "every", "every x", "every 0", "every 0.5s", "every 200000d", "hourly", "* * * *", "* * * * * *",
        "61 * * * *", "0 2 30 2 *", "a b c d e", "@daily",
        "daily 02:00 Europe/Vienna", "x " * 200,
    ],
)  # fmt: skip
def test_what_is_no_rule_is_refused_in_a_line(text: str) -> None:
    with pytest.raises(Refused) as refused:
        recurrence.checked(text)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_without_the_package_only_cron_words_are_refused() -> None:
    with mock.patch.dict(sys.modules, {"cronsim": None}):
        assert recurrence.checked("daily 02:00") == "daily 02:00"
        with pytest.raises(Refused, match=r"pip install 'gflow\[cron\]'"):
            recurrence.checked("0 2 * * *")
