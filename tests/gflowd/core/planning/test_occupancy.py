from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st
from machine_room import BIG, DAY, DEVICES, EVERY, HOUR, NOW, Reserved, again, job, room
from support import depth

from gflowd.core.job.model import Spec
from gflowd.core.planning.occupancy import Hold, Occupancy, hold


def endless(*gpus: int, expected: float = NOW + 10, cpus: int = 0) -> Hold:
    return Hold("u", expected, cpus, 0, gpus, certain=False)


def test_time_goes_on_and_gives_back_what_has_ended() -> None:
    made = room(Hold("u", NOW + 10, 2, 100, (0, 1)), Hold("u", NOW + 20, 3, 200, (2,)), Hold("u", inf, 0, 0, ()))
    assert (made.cpus, made.memory_mb, made.next_end()) == (3, 700, NOW + 10)
    made.advance(NOW + 5)
    assert (made.cpus, made.memory_mb) == (3, 700)
    made.advance(NOW + 10)
    assert (made.cpus, made.memory_mb, made.next_end()) == (5, 800, NOW + 20)
    assert made.candidates(job(1, gpus=1).spec, made.now, made.now) == [0, 1, 3]
    made.advance(NOW + 20)
    assert (made.cpus, made.memory_mb, made.next_end()) == (8, 1000, inf)


def test_the_end_of_a_reservation_is_an_end_as_well() -> None:
    windows = (Reserved("v", NOW - 5, NOW + 5, gpu_list=(0,)), Reserved("u", NOW, NOW + 1, 2))
    made = room(windows=windows)
    assert made.next_end() == NOW + 1
    assert room().next_end() is None
    assert made.earliest(job(1, gpus=4).spec, 1.0) == NOW + 5


def test_reservations_by_count_are_used_by_whom_they_are_for_and_by_no_namesake() -> None:
    """One user has two, of which the older one does not tell the id."""
    windows = (Reserved("v", NOW, NOW + 9, 1), Reserved("v", NOW, NOW + 9, 1, uid=7))
    spec = job(1, gpus=1).spec
    for uid, is_theirs in ((7, True), (8, False)):
        made = room(Hold("v", NOW + 5, 0, 0, (0, 1), uid=uid), windows=windows)
        assert made.leaves_enough(spec, (3,), NOW, NOW + 5) == is_theirs
    made = room(Hold("v", NOW + 5, 0, 0, (0,), uid=7), windows=windows)
    assert made.leaves_enough(spec, (2, 3), NOW, NOW + 5)
    assert not made.leaves_enough(spec, (1, 2, 3), NOW, NOW + 5), "one is in use, the other is still to be had"


def test_a_gpu_that_is_held_but_not_available_is_nobody_elses_business() -> None:
    made = Occupancy(BIG, (1, 2), NOW)
    made.take(Hold("u", inf, 1, 0, (0, 1)))
    assert made.candidates(job(1, gpus=1).spec, NOW, NOW) == [2]
    assert made.suitable(job(1, gpus=1).spec) == 2


# What is known and what is expected.


def test_an_endless_job_is_gone_when_it_is_expected_to_be_and_never_for_certain() -> None:
    made, spec = room(endless(0, cpus=3), Hold("u", NOW + 20, 2, 0, (1,))), job(1, gpus=4).spec
    assert not made.is_known
    assert (made.earliest(spec, 1.0), made.earliest(spec, 1.0, certain=True)) == (NOW + 20, None)
    three = job(1, gpus=3).spec
    assert (made.earliest(three, 1.0), made.earliest(three, 1.0, certain=True)) == (NOW + 10, NOW + 20)
    assert made.candidates(spec, NOW + 10, NOW + 11) == [0, 2, 3]
    assert made.candidates(spec, NOW + 10, NOW + 11, certain=True) == [2, 3]
    assert made.slack(spec, NOW + 10) == (8 - 2 - 1, 1000)
    assert made.slack(spec, NOW + 10, certain=True) == (8 - 5 - 1, 1000)
    made.advance(NOW + 10)
    assert made.is_known
    assert made.candidates(spec, made.now, made.now) == [0, 2, 3]


def test_what_is_overdue_is_expected_to_be_gone_in_a_moment() -> None:
    made = room(Hold("u", NOW - 5, 0, 0, (0,)), endless(1, expected=NOW))
    assert made.next_end() == NOW + 1
    assert made.earliest(job(1, gpus=4).spec, 1.0) == NOW + 1
    assert made.earliest(job(1, gpus=3).spec, 1.0, certain=True) == NOW + 1


def test_a_doubtful_gpu_is_held_by_nobody_knows_whom_for_how_long() -> None:
    made = Occupancy(BIG, (1, 2), NOW, doubtful=(0, 2, 9))
    assert made.suitable(job(1, gpus=1).spec) == 1
    assert made.candidates(job(1, gpus=1).spec, NOW, NOW) == [1]
    assert not made.is_known
    assert made.earliest(job(1, gpus=3).spec, 1.0) == NOW + 1
    assert made.earliest(job(1, gpus=2).spec, 1.0, certain=True) is None


def test_a_time_must_be_admitted_too() -> None:
    made, spec = room(Hold("u", NOW + 10, 0, 0, (0,)), Hold("u", NOW + 20, 0, 0, ())), job(1, gpus=4).spec
    assert made.earliest(spec, 1.0, admits=lambda at: at >= NOW + 10) == NOW + 10
    assert made.earliest(spec, 1.0, admits=lambda at: at >= NOW + 15) == NOW + 20
    assert made.earliest(spec, 1.0, admits=lambda at: False) is None


# What is kept.


def test_what_is_tried_beside_others_leaves_no_trace() -> None:
    made = room(Hold("u", NOW + 10, 4, 100, (0,)))
    spec = job(1, gpus=3).spec
    made.keep(spec, NOW + 10, inf, certain=True)
    made.keep(spec, NOW + 10, inf, certain=False)
    for certain in (True, False):
        assert not made.spares(Hold("u", inf, 1, 0, (1, 2), certain=certain))
        assert made.spares(Hold("u", inf, 1, 0, (1,), certain=certain))
        assert made.spares(Hold("u", inf, 1, 0, (9,), certain=certain))
    assert (made.cpus, made.memory_mb, made.candidates(spec, NOW, NOW)) == (4, 900, [1, 2, 3])
    assert made.is_known


def test_nothing_is_kept_for_who_could_not_have_it_then() -> None:
    made, spec = room(Hold("u", NOW + 10, 0, 0, (0,))), job(1, gpus=4).spec
    made.keep(spec, NOW + 9, NOW + 20, certain=True)
    assert list(made.kept_times()) == []
    assert made.spares(Hold("u", inf, 0, 0, (1, 2, 3)))
    made.keep(spec, NOW + 10, NOW + 20, certain=True)
    made.keep(spec, NOW + 15, NOW + 20, certain=True)
    assert list(made.kept_times()) == [NOW + 10]


def test_who_is_gone_in_time_is_spared_for_certain_only_if_it_is_certainly_gone() -> None:
    for kept in (True, False):
        made = room(Hold("u", NOW + 10, 0, 0, (0,)))
        made.keep(job(1, gpus=4).spec, NOW + 10, NOW + 20, certain=kept)
        assert made.spares(Hold("u", NOW + 10, 0, 0, (1,)))
        assert made.spares(Hold("u", NOW + 10, 0, 0, (1,), certain=False)) != kept
        assert not made.spares(Hold("u", NOW + 11, 0, 0, (1,)))


def test_where_a_first_estimate_counts_only_who_is_gone_by_then_passes() -> None:
    made = room(endless(0, expected=NOW + 100))
    made.keep(job(1, gpus=4).spec, NOW + 100, NOW + 200, certain=False, judged=NOW + 50)
    assert made.spares(Hold("u", NOW + 40, 1, 0, (1,)))
    assert not made.spares(Hold("u", NOW + 80, 1, 0, (1,)))
    assert made.spares(Hold("u", NOW + 80, 1, 0, ()))


def test_what_is_kept_is_out_of_reach_for_those_that_start_later_until_it_is_over() -> None:
    made, spec = room(Hold("u", NOW + 10, 8, 0, (0,))), job(1, gpus=3, cpus=5).spec
    made.keep(spec, NOW + 10, NOW + 20, certain=True)
    two, one = job(2, gpus=2, cpus=0).spec, job(2, gpus=1, cpus=4).spec
    assert made.candidates(two, NOW + 5, NOW + 10, certain=True) == [1, 2, 3]
    assert made.candidates(two, NOW + 5, NOW + 11, certain=True) == [3]
    assert made.candidates(two, NOW + 20, NOW + 30, certain=True) == [0, 1, 2, 3]
    assert made.candidates(two, NOW + 5, NOW + 11) == [1, 2, 3]
    assert made.candidates(two, NOW + 5, NOW + 11, reserved=True, certain=True) == [1, 2, 3]
    assert (made.earliest(two, 5.0, certain=True), made.earliest(one, 5.0, certain=True)) == (NOW + 20, NOW + 20)
    assert made.earliest(job(2, gpus=1, cpus=3).spec, 5.0, certain=True) == NOW + 10
    assert made.slack(one, NOW + 10, NOW + 11, certain=True) == (8 - 5 - 4, 1000)
    assert made.slack(one, NOW + 20, NOW + 30, certain=True) == (8 - 4, 1000)
    assert made.wanted_later() == [{0, 1, 2, 3}]


def test_what_another_gets_moves_what_is_kept_to_other_gpus() -> None:
    made = room(Hold("u", NOW + 10, 0, 0, (0,)))
    made.keep(job(1, gpus=2).spec, NOW + 10, NOW + 20, certain=False)
    made.take(Hold("u", NOW + 15, 0, 0, (0, 1)))
    assert made.candidates(job(2, gpus=1).spec, NOW + 10, NOW + 12) == []
    assert made.spares(Hold("u", NOW + 10, 0, 0, (2,)))
    assert not made.spares(Hold("u", NOW + 11, 0, 0, (2,)))
    made.take(Hold("u", NOW + 30, 0, 0, (2,)))  # against what was kept
    assert list(made.kept_times()) == [NOW + 10]


TIMES = st.integers(1, 12).map(lambda step: NOW + 5 * step)
SPECS = st.fixed_dictionaries(
    {
        "gpus": st.integers(0, 3),
        "cpus": st.integers(0, 5),
        "memory_mb": st.sampled_from([None, 300]),
        "gpu_type": st.sampled_from([None, None, "a100"]),
        "time_limit": st.sampled_from([None, 10.0, 20.0]),
    },
    optional={"shared": st.just(value=True), "gpu_memory_mb": st.sampled_from([40, 120])},
).map(lambda fields: job(1, **fields).spec)
LISTED = st.lists(
    st.builds(
        lambda user, start, length, gpu_list: Reserved(user, start, start + length, gpu_list=gpu_list),
        st.sampled_from("uv"),
        TIMES,
        st.sampled_from([5.0, 20.0]),
        st.sampled_from([(0,), (0, 2), (3,)]),
    ),
    max_size=2,
)


def machine(spec: Spec, chosen: Sequence[int], until: float, certain: bool) -> Hold:
    return hold(spec, tuple(chosen), until, certain=certain)


HELD = st.lists(
    st.builds(
        machine,
        SPECS,
        st.lists(st.integers(0, 3), unique=True, max_size=2),
        TIMES,
        st.booleans(),
    ),
    max_size=5,
)


def allowed(held: Sequence[Hold]) -> list[Hold]:
    """Those of them that can be at once."""
    found: list[Hold] = []
    for each in held:
        if all(at_once([*found, each])):
            found.append(each)
    return found


def at_once(held: Sequence[Hold]) -> tuple[bool, bool]:
    """Whether there is enough of CPUs and memory, and of each GPU, for all of them."""
    general = sum(each.cpus for each in held) <= 8 and sum(each.memory_mb for each in held) <= 1000
    gpus = True
    for device in DEVICES:
        here = [each.shared_mb for each in held if device.index in each.gpus]
        alone = len(here) <= 1 or None not in here
        gpus = gpus and alone and sum(each or 0 for each in here) <= device.memory_mb
    return general, gpus


def could_have(spec: Spec, gpus: Sequence[int], at: float, until: float, windows: Sequence[Reserved]) -> bool:
    """Whether these GPUs are of the kind asked for and nobody else has reserved any meanwhile."""
    last = inf if spec.time_limit is None else until
    reserved = {
        index for each in windows if each.user != spec.user and each.start < last and each.end > at
        for index in each.gpu_list or ()
    }  # fmt: skip
    return all(DEVICES[index].suits(spec) for index in gpus) and not reserved.intersection(gpus)


def ways(
    held: Sequence[Hold], spec: Spec, at: float, until: float, windows: Sequence[Reserved], *, certain: bool
) -> list[Hold]:
    """What the job could have from then on: all choices."""
    there = [each for each in held if not each.is_over(at, certain=certain)]
    choices = (machine(spec, gpus, until, certain=True) for gpus in combinations(range(4), spec.gpus))
    return [
        each for each in choices if all(at_once([*there, each])) and could_have(spec, each.gpus, at, until, windows)
    ]


@given(HELD, SPECS, LISTED, st.booleans())
@settings(max_examples=depth.examples(400))
def test_the_earliest_time_is_the_first_at_which_any_choice_of_gpus_fits(
    held: list[Hold], spec: Spec, windows: list[Reserved], certain: bool
) -> None:
    live, length = allowed(held), spec.time_limit or 15.0
    made = room(*live, windows=windows)
    now = ways(live, spec, NOW, NOW + length, windows, certain=certain)
    assert made.fits(spec, NOW, NOW + length, certain=certain) == bool(now)
    times = [NOW + step for step in range(1, 90)]
    able = [at for at in times if ways(live, spec, at, at + length, windows, certain=certain)]
    if not now:
        assert made.earliest(spec, length, certain=certain) == next(iter(able), None)


@given(HELD, SPECS, SPECS, LISTED, st.booleans(), st.sampled_from([5.0, 15.0, 30.0]), st.booleans())
@settings(max_examples=depth.examples(400))
def test_what_is_kept_for_one_job_can_spare_exactly_what_leaves_it_any_choice_of_gpus(
    held: list[Hold], spec: Spec, other: Spec, windows: list[Reserved], certain: bool, lasts: float, ends: bool
) -> None:
    live, length = allowed(held), spec.time_limit or 15.0
    made = room(*live, windows=windows)
    at = made.earliest(spec, length, certain=certain)
    if at is None:
        return
    made.keep(spec, at, at + length, certain=certain)
    for gpus in combinations(range(4), other.gpus):
        passing = machine(other, gpus, NOW + lasts, ends)
        if all(at_once([*live, passing])):
            able = ways([*live, passing], spec, at, at + length, windows, certain=certain)
            assert made.spares(passing) == bool(able)


@given(HELD, st.lists(SPECS, min_size=2, max_size=3), SPECS, st.booleans(), st.booleans())
@settings(max_examples=depth.examples(300))
def test_what_is_kept_for_many_can_all_be_had_beside_what_is_spared(
    held: list[Hold], specs: list[Spec], other: Spec, certain: bool, ends: bool
) -> None:
    live = allowed(held)
    made = room(*live)
    kept: list[tuple[Spec, float, float]] = []
    for spec in specs:
        at = made.earliest(spec, spec.time_limit or 15.0, certain=certain)
        if at is not None:
            made.keep(spec, at, at + (spec.time_limit or 15.0), certain=certain)
            kept.append((spec, at, at + (spec.time_limit or 15.0)))
    assert list(made.kept_times()) == [at for _, at, _ in kept]
    for gpus in combinations(range(4), other.gpus):
        passing = machine(other, gpus, NOW + 15, ends)
        if all(at_once([*live, passing])) and made.spares(passing):
            assert can_all(kept, [*live, passing], [], certain=certain)


def can_all(
    kept: list[tuple[Spec, float, float]], held: list[Hold], placed: list[tuple[Hold, float]], *, certain: bool
) -> bool:
    """Whether all can have any GPUs at their times; those `placed` have theirs."""
    if not kept:
        return True
    spec, at, until = kept[0]
    for mine in ways([], spec, at, until, [], certain=certain):
        trial = [*placed, (mine, at)]
        if all(
            all(at_once([
                *(each for each in held if not each.is_over(when, certain=certain)),
                *(given for given, begin in trial if begin <= when < given.end),
            ]))
            for when in {begin for _, begin in trial}
        ) and can_all(kept[1:], held, trial, certain=certain):  # fmt: skip
            return True
    return False


def test_beyond_what_is_known_of_reservations_a_job_starts_some_day() -> None:
    windows = again(8 * HOUR, 10 * HOUR, DAY, gpu_list=EVERY)
    spec = job(1, gpus=1, time_limit=HOUR).spec
    busy = Hold("u", NOW + 40 * DAY, 0, 0, EVERY)
    assert room(busy, windows=windows, horizon=NOW + 30 * DAY).earliest(spec, HOUR) == inf
    assert room(windows=windows, horizon=NOW + 30 * DAY).earliest(spec, HOUR) == NOW + 18 * HOUR
    once = [Reserved("v", NOW, NOW + DAY, gpu_list=EVERY)]
    assert room(busy, windows=once, horizon=NOW + 30 * DAY).earliest(spec, HOUR) == NOW + 40 * DAY


def test_gpus_that_are_reserved_by_index_later_are_no_part_of_what_is_then_reserved_by_count() -> None:
    windows = [
        Reserved("v", NOW, NOW + 2 * HOUR, gpus=2),
        Reserved("v", NOW + HOUR, NOW + 2 * HOUR, gpu_list=(0, 1)),
    ]
    assert room(windows=windows).fits(job(1, gpus=1, time_limit=HOUR).spec, NOW, NOW + HOUR)
    assert not room(windows=windows).fits(job(1, gpus=1, time_limit=2 * HOUR).spec, NOW, NOW + 2 * HOUR)
