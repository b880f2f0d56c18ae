from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.errors import Refused
from gflowd.core.syntax import clocks, instants
from gflowd.core.syntax.clocks import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = datetime(2025, 1, 31, 17, 30, 15, tzinfo=UTC).timestamp()  # 18:30:15 in Vienna
ZONES = ("Europe/Vienna", "Asia/Tokyo", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia")


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Moves the machine to a time zone."""

    def move(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    move("UTC")
    yield move
    monkeypatch.undo()
    time.tzset()


def test_the_clock_of_the_machine_shows_no_zone(machine: Callable[[str], None]) -> None:
    machine("Europe/Vienna")
    assert clocks.of(None, NOW).stamp(NOW) == "2025-01-31T18:30:15"
    assert clocks.of("Europe/Berlin", NOW).stamp(NOW) == "2025-01-31T18:30:15", "the same all the year round"


@pytest.mark.usefixtures("machine")
def test_the_clock_of_another_zone_shows_how_far_it_is_from_utc() -> None:
    assert clocks.of("Europe/Vienna", NOW).stamp(NOW) == "2025-01-31T18:30:15+01:00"
    assert clocks.of("America/St_Johns", NOW).stamp(NOW) == "2025-01-31T14:00:15-03:30"
    london = clocks.of("Europe/London", NOW)
    assert london.stamp(NOW) == "2025-01-31T17:30:15+00:00", "as in summer it would not be the machine's"
    assert london.stamp(at("2025-07-31T17:30:15Z")) == "2025-07-31T18:30:15+01:00"
    assert Clock().stamp(None) == "N/A"
    assert Clock().stamp(None, "-") == "-"


@pytest.mark.parametrize("zone", ["machine's", "Europe/Vienna"])
def test_in_the_hour_that_comes_twice_each_time_is_told_apart(machine: Callable[[str], None], zone: str) -> None:
    machine("Europe/Vienna")
    clock = clocks.of(None if zone == "machine's" else zone, NOW)
    hours = [f"2025-10-25T23:{minute:02}:00Z" for minute in (59,)] + [
        f"2025-10-26T0{hour}:{minute:02}:00Z" for hour, minute in ((0, 0), (0, 59), (1, 0), (1, 59), (2, 0))
    ]
    assert [clock.stamp(at(text)) for text in hours] == [
        "2025-10-26T01:59:00",
        "2025-10-26T02:00:00+02:00",
        "2025-10-26T02:59:00+02:00",
        "2025-10-26T02:00:00+01:00",
        "2025-10-26T02:59:00+01:00",
        "2025-10-26T03:00:00",
    ]


def test_no_time_is_shown_that_a_clock_change_skips(machine: Callable[[str], None]) -> None:
    machine("Europe/Vienna")
    shown = [Clock().stamp(at("2025-03-30T00:59:59Z") + second) for second in range(2)]
    assert shown == ["2025-03-30T01:59:59", "2025-03-30T03:00:00"]


@given(st.integers(-1_000_000_000, 4_102_444_800), st.sampled_from([*ZONES, None]))
def test_what_is_shown_can_be_read_again(moment: int, name: str | None) -> None:
    clock = clocks.of(name, NOW)
    assert clock.instant(clock.stamp(moment), NOW) == moment


def test_what_is_near_is_shown_short() -> None:
    clock = Clock(clocks.of("Europe/Vienna", NOW).zone)
    assert clock.near(NOW + 3600, NOW) == "19:30"
    assert clock.near(NOW + 3601, NOW, seconds=True) == "19:30:16"
    assert clock.near(NOW + 6 * 3600, NOW) == clock.near(NOW + 6 * 3600, NOW, seconds=True) == "Sat 00:30"
    assert clock.near(NOW - 86400, NOW) == "2025-01-30 18:30"
    assert clock.near(NOW + 6 * 86400, NOW) == "Thu 18:30"
    assert clock.near(NOW + 7 * 86400, NOW) == "2025-02-07 18:30"
    assert Clock(clock.zone, "Europe/Vienna").near(NOW + 3600, NOW) == "19:30+01:00"


def test_a_time_by_another_clock_says_by_which() -> None:
    vienna, tokyo = (Clock(clocks.of(name, NOW).zone, name) for name in ("Europe/Vienna", "Asia/Tokyo"))
    assert (Clock().other(None), Clock(vienna.zone).other(vienna.zone)) == ("", "")
    assert (tokyo.other(vienna.zone), tokyo.other(tokyo.zone)) == (" in Europe/Vienna", " in Asia/Tokyo")
    assert (tokyo.other(None), Clock().other(vienna.zone)) == (" by the machine's clock", " in Europe/Vienna")


@pytest.mark.parametrize("moment", [-62135683200.0, 253402387200.0, 1e12])
def test_no_instant_is_too_far_away_to_be_shown(moment: float) -> None:
    assert clocks.of("Asia/Tokyo", NOW).stamp(moment)
    assert Clock().stamp(moment)


def test_an_unknown_zone_is_refused_with_what_was_meant() -> None:
    for name, hint in (
        ("Europe/Viena", "(did you mean Europe/Vienna?)"),
        ("europe/vienna", "(did you mean Europe/Vienna?)"),
        ("x" * 500, "(such as Europe/Vienna)"),
    ):
        with pytest.raises(Refused) as refused:
            clocks.of(name, NOW)
        assert str(refused.value).endswith(f"is not a time zone {hint}")


def test_a_past_instant_is_read_by_the_same_clock() -> None:
    tokyo = clocks.of("Asia/Tokyo", NOW)
    assert tokyo.past_instant("9:00", NOW) == at("2025-01-31T09:00:00+09:00")
    assert tokyo.past_instant("7d", NOW) == NOW - 7 * 86400


def test_an_instant_is_read_in_the_zone_of_the_clock() -> None:
    assert clocks.Clock(instants.zone("Asia/Tokyo")).instant("2025-02-01 09:00", NOW) == at("2025-02-01T00:00+00:00")
