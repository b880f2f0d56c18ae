from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reserved import DAY, HOUR, ZONES, at, reservation, reservations_strategy
from support import depth

from gflowd.core.errors import Refused
from gflowd.core.planning.reservation_conflicts import check, conflict
from gflowd.core.planning.reservations import windows
from gflowd.core.syntax import instants
from gflowd.core.syntax.clocks import Clock

if TYPE_CHECKING:
    from datetime import tzinfo

    from gflowd.core.planning.reservations import Reservation, Window

VIENNA = instants.zone("Europe/Vienna")
GPUS = 4
WEEK = 7 * DAY


def test_an_index_is_not_reserved_twice() -> None:
    bobs = reservation(2, user="bob", start=at("2025-01-31 18:30"), duration=2 * HOUR, gpu_list=(0, 2))
    new = reservation(3, start=at("2025-01-31 20:00"), gpu_list=(1, 2))
    assert conflict(new, [bobs], GPUS, 0, VIENNA) == (
        "GPU 2 is reserved at that time by reservation 2 (bob, 2025-01-31 18:30 for 2:00:00)"
    )
    assert conflict(new.replace(gpu_list=(1, 3)), [bobs], GPUS, 0, VIENNA) is None
    assert conflict(new.replace(start=bobs.start + 2 * HOUR), [bobs], GPUS, 0, VIENNA) is None
    assert conflict(new.replace(start=bobs.start - HOUR), [bobs], GPUS, 0, VIENNA) is None


def test_counts_and_indices_together_are_no_more_than_there_are() -> None:
    others = [reservation(1, start=100, gpus=2), reservation(2, start=100, gpu_list=(3,))]
    assert conflict(reservation(3, start=200, gpus=1), others, GPUS, 0) is None
    assert conflict(reservation(3, start=200, gpu_list=(0,)), others, GPUS, 0) is None
    found = conflict(reservation(3, start=200, gpus=2), others, GPUS, 0, instants.zone("UTC"))
    assert found == (
        "with reservation 1 (ada, 1970-01-01 00:01 for 1:00:00) and reservation 2 (ada, 1970-01-01 00:01 for 1:00:00) "
        "5 GPUs would be reserved at a time; this machine has 4"
    )


@pytest.mark.parametrize(
    ("repeat", "said"),
    [
        (None, "2025-02-01 02:30+09:00 for 2:00:00"),
        ("daily", "daily 18:30 in Europe/Vienna for 2:00:00"),
        ("weekly", "Friday 18:30 weekly in Europe/Vienna for 2:00:00"),
    ],
)
def test_another_clock_shows_times_but_what_repeats_does_so_by_its_own(repeat: str | None, said: str) -> None:
    bobs = reservation(2, user="bob", start=at("2025-01-31 18:30"), duration=2 * HOUR, gpu_list=(0,), repeat=repeat)
    new = reservation(3, start=at("2025-01-31 20:00"), gpu_list=(0,))
    tokyo = Clock(instants.zone("Asia/Tokyo"), "Asia/Tokyo")
    assert conflict(new, [bobs], GPUS, 0, VIENNA, tokyo) == (
        f"GPU 0 is reserved at that time by reservation 2 (bob, {said})"
    )


def test_windows_that_do_not_meet_each_other_are_not_added_up() -> None:
    others = [reservation(n, start=n * HOUR, gpus=3) for n in range(5)]
    assert conflict(reservation(9, start=0, duration=5 * HOUR, gpus=1), others, GPUS, 0) is None
    assert conflict(reservation(9, start=0, duration=5 * HOUR, gpus=2), others, GPUS, 0) is not None


def test_while_nobody_knows_the_machine_only_indices_are_compared() -> None:
    others = [reservation(1, gpus=100, gpu_list=None), reservation(2, gpu_list=(7,))]
    assert conflict(reservation(3, gpus=100), others, None, 0) is None
    assert conflict(reservation(3, gpu_list=(7,)), others, None, 0) is not None


def test_what_is_cancelled_or_over_is_in_nobodys_way() -> None:
    gone = [reservation(1, gpu_list=(0,), cancelled_at=1), reservation(2, gpu_list=(0,))]
    daily = reservation(3, start=2 * HOUR, gpu_list=(0,), repeat="daily")
    assert conflict(daily, gone, GPUS, 2 * HOUR, VIENNA) is None


def test_a_reservation_is_not_in_its_own_way() -> None:
    one = reservation(1, gpus=4, repeat="daily")
    assert conflict(one, [one], GPUS, 0, VIENNA) is None


def test_one_that_repeats_meets_one_that_does_not_however_far_away() -> None:
    weekly = reservation(1, start=at("2025-01-06 9:00"), gpu_list=(0,), repeat="weekly")
    far = reservation(2, start=at("2027-07-05 9:30"), gpu_list=(0,))
    for new, old in ((weekly, far), (far, weekly)):
        assert f"reservation {old.id} (ada, " in (conflict(new, [old], GPUS, 0, VIENNA) or "")
        assert conflict(new.replace(start=new.start + DAY), [old], GPUS, 0, VIENNA) is None


def test_those_that_repeat_meet_for_ever() -> None:
    weekly = reservation(1, start=at("2025-01-05 23:30"), duration=2 * HOUR, gpus=3, repeat="weekly")
    daily = reservation(2, start=at("2025-07-01 1:00"), gpus=2, repeat="daily")
    found = conflict(daily, [weekly], GPUS, 0, VIENNA)
    assert found == (
        "with reservation 1 (ada, Sunday 23:30 weekly for 2:00:00) "
        "5 GPUs would be reserved at a time; this machine has 4"
    )
    assert "daily 01:00" in (conflict(weekly, [daily], GPUS, 0, VIENNA) or "")
    assert conflict(daily.replace(start=at("2025-07-01 1:30")), [weekly], GPUS, 0, VIENNA) is None


def test_neighbours_that_repeat_stay_apart_when_the_clocks_change() -> None:
    nights = reservation(1, start=at("2025-01-01 1:00"), duration=1.5 * HOUR, gpu_list=(0,), repeat="daily")
    mornings = reservation(2, start=at("2025-01-01 2:30"), duration=22.5 * HOUR, gpu_list=(0,), repeat="daily")
    assert conflict(mornings, [nights], GPUS, 0, VIENNA) is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"gpus": 0}, "a reservation needs at least one GPU"),
        ({"gpu_list": ()}, "a reservation needs at least one GPU"),
        ({"duration": 0}, "a reservation needs a duration of more than zero"),
        ({"start": 999.9}, "the start is in the past"),
        ({"start": 1000 + 5 * 365 * DAY}, "a reservation must end within five years"),
        ({"repeat": "daily", "duration": DAY + 1}, "a daily reservation cannot last longer than a day"),
        ({"repeat": "weekly", "duration": 7 * DAY + 1}, "a weekly reservation cannot last longer than a week"),
        ({"gpus": 5}, "5 GPUs asked for, but this machine has 4"),
        ({"gpu_list": (0, 4)}, "there is no GPU 4; this machine has 4 GPUs"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, object], why: str) -> None:
    good = reservation(1, start=1000)
    check(good, GPUS, 1000)
    with pytest.raises(Refused) as caught:
        check(good.replace(**changes), GPUS, 1000)
    assert str(caught.value) == why


def test_of_a_machine_without_gpus_none_can_be_had() -> None:
    with pytest.raises(Refused, match="1 GPU asked for, but this machine has none"):
        check(reservation(1), 0, 0)
    with pytest.raises(Refused, match="there is no GPU 0; this machine has no GPUs"):
        check(reservation(1, gpu_list=(0,)), 0, 0)
    check(reservation(1, gpus=1000), None, 0)


def exceeds(several: list[Reservation], zone: tzinfo | None) -> bool:
    """Whether at the start of some window, where the need is greatest, an index is used twice or too many GPUs are."""
    until = max(each.start + each.duration for each in several) + 3 * WEEK  # by then all repeating ones have met
    active: list[Window] = []
    for window in windows(several, 0, until, zone):
        active = [*(other for other in active if other.end > window.start), window]
        indices = [index for other in active for index in other.gpu_list or ()]
        if len(indices) > len(set(indices)) or len(indices) + sum(other.gpus for other in active) > GPUS:
            return True
    return False


@settings(max_examples=depth.examples(150), deadline=None)
@given(reservations_strategy, st.sampled_from(ZONES))
def test_what_is_accepted_never_exceeds_the_machine_and_what_is_refused_would(
    asked: list[Reservation], name: str
) -> None:
    zone = instants.zone(name)
    found: list[Reservation] = []
    for new in (each.replace(cancelled_at=None) for each in asked):
        refused = conflict(new, found, GPUS, 0, zone)
        assert (refused is not None) == exceeds([*found, new], zone), refused
        if refused is None:
            found.append(new)
