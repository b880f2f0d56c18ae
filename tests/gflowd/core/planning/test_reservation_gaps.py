from __future__ import annotations

from collections.abc import Sequence
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st
from machine_room import DAY, EVERY, HOUR, NOW, Reserved, again, job, room
from support import depth

from gflowd.core.planning.occupancy import LONGER
from gflowd.core.planning.reservation_gaps import can_ever, longest


def test_who_fits_in_no_gap_between_daily_reservations_can_never_start() -> None:
    made = room(windows=again(8 * HOUR, 10 * HOUR, DAY, gpu_list=EVERY), horizon=NOW + 30 * DAY)
    assert can_ever(made, job(1, gpus=1, time_limit=14 * HOUR).spec, 14 * HOUR)
    assert not can_ever(made, job(1, gpus=1, time_limit=14 * HOUR + 1).spec, 14 * HOUR + 1)
    assert not can_ever(made, job(1, gpus=1).spec, 60.0)  # it may never end
    assert can_ever(made, job(1).spec, inf)
    assert can_ever(made, job(1, gpus=4, user="v").spec, inf)


def test_a_gap_that_comes_once_a_week_is_a_gap() -> None:
    daily = [
        each for each in again(8 * HOUR, 10 * HOUR, DAY, gpu_list=EVERY) if (each.start - NOW) % (7 * DAY) < 6 * DAY
    ]
    made = room(windows=daily, horizon=NOW + 30 * DAY)
    assert can_ever(made, job(1, gpus=1, time_limit=38 * HOUR).spec, 38 * HOUR)
    assert not can_ever(made, job(1, gpus=1, time_limit=38 * HOUR + 1).spec, 38 * HOUR + 1)


def test_reservations_that_come_once_and_those_of_other_gpus_stand_in_nobodys_way_for_ever() -> None:
    once = [Reserved("v", NOW, NOW + 20 * DAY, gpu_list=EVERY)]
    assert can_ever(room(windows=once), job(1, gpus=1).spec, DAY)
    made = room(windows=[*once, *again(0.0, HOUR, DAY, gpu_list=(0, 1))], horizon=NOW + 30 * DAY)
    assert can_ever(made, job(1, gpus=2).spec, 40 * DAY)
    assert not can_ever(made, job(1, gpus=3).spec, 40 * DAY)
    assert not can_ever(made, job(1, gpus=1, gpu_type="a100").spec, 40 * DAY)


def test_the_longest_that_a_job_may_be_is_told_to_a_minute() -> None:
    made = room(windows=again(8 * HOUR, 10 * HOUR, DAY, gpu_list=EVERY), horizon=NOW + 30 * DAY)
    for limit in (None, 15 * HOUR, 9 * DAY):
        most = longest(made, job(1, gpus=1, time_limit=limit).spec)
        assert most is not None
        assert 14 * HOUR - 60 <= most <= 14 * HOUR
        assert most % 60 == 0
    assert longest(made, job(1, gpus=1, time_limit=HOUR).spec) is None
    made = room(windows=again(0.0, DAY, DAY, gpu_list=EVERY), horizon=NOW + 30 * DAY)
    assert longest(made, job(1, gpus=1).spec) is None
    made = room(windows=again(0.0, DAY - 30, DAY, gpu_list=EVERY), horizon=NOW + 30 * DAY)
    assert longest(made, job(1, gpus=1).spec) is None


SLOT = 1800.0
LISTS = st.sampled_from([{"gpu_list": EVERY}, {"gpu_list": (0, 1)}, {"gpu_list": (2,)}])
COUNTS = st.sampled_from([{"gpus": 1}, {"gpus": 2}, {"gpus": 4}])


def drawn_again(which: st.SearchStrategy[dict[str, object]]) -> st.SearchStrategy[list[Reserved]]:
    one = st.tuples(st.integers(0, 47), st.integers(1, 46), st.sampled_from([DAY, DAY, 7 * DAY]), which)
    return st.lists(one, min_size=1, max_size=2).map(
        lambda drawn: [
            each
            for first, length, period, fields in drawn
            for each in again(first * SLOT, length * SLOT, period, **fields)
        ]
    )


def longest_gap(windows: Sequence[Reserved], gpus: int) -> float:
    """The most seconds for which so many GPUs are left, from any half hour of the first week on."""
    slots = [NOW + SLOT * number for number in range(16 * 48)]
    active = [[each for each in windows if each.start <= at < each.end] for at in slots]
    listed = [{index for each in there for index in each.gpu_list or ()} for there in active]
    counted = [sum(each.gpus for each in there if each.gpu_list is None) for there in active]
    most = 0
    for begin in range(7 * 48):
        left, lasts = set(EVERY), 0
        while lasts < LONGER / SLOT:
            left -= listed[begin + lasts]
            if len(left) < gpus or 4 - len(listed[begin + lasts]) - gpus < counted[begin + lasts]:
                break
            lasts += 1
        most = max(most, lasts)
    return most * SLOT


@given(drawn_again(LISTS) | drawn_again(COUNTS), st.integers(1, 4), st.integers(1, 200))
@settings(max_examples=depth.examples(30))
def test_who_can_ever_start_fits_in_some_gap(windows: list[Reserved], gpus: int, slots: int) -> None:
    made, gap = room(windows=windows, horizon=NOW + 30 * DAY), longest_gap(windows, gpus)
    assert can_ever(made, job(1, gpus=gpus, time_limit=slots * SLOT).spec, slots * SLOT) == (slots * SLOT <= gap)
    most = longest(made, job(1, gpus=gpus, time_limit=20 * DAY).spec)
    if gap in {0.0, LONGER}:
        assert most is None
    else:
        assert most is not None
        assert gap - 60 <= most <= gap
