from __future__ import annotations

from math import inf
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.specs import SPEC

from gflowd.core.job.model import Job, Queued, Wish
from gflowd.core.queue.order import Label, PriorityOrder, Seat, Walker, band, length_class, score, shape, width_factor

HOUR, DAY = 3600.0, 86400.0
NOW = 10 * DAY


class Placed(NamedTuple):
    job: Job
    seat: Seat


def job(
    job_id: int,
    user: str = "u",
    ready: float = 0.0,
    label: Label = None,
    top_at: float | None = None,
    **fields: object,
) -> Placed:
    spec = SPEC.replace(user=user, **{"time_limit": HOUR, **fields})
    return Placed(Job(job_id, spec, Wish(top_at=top_at), Queued()), Seat(ready, label))


def line(*placed: Placed) -> PriorityOrder:
    made = PriorityOrder()
    for each in placed:
        made.add(*each)
    return made


def a_day(user: str, gpus: int, label: Label) -> float:
    return DAY


def walker(**shares: float) -> Walker:
    return Walker(NOW, shares, a_day)


def order(made: PriorityOrder, **shares: float) -> list[int]:
    return list(made.walk(walker(**shares)))


# The score.


def test_the_score_is_waiting_by_length_times_the_cube_root_of_the_gpus_times_the_share() -> None:
    assert score(4096.0, HOUR, 1, 1.0) == 1.0
    assert score(1024.0, HOUR, 8, 0.5) == 0.25
    assert score(3 * 2.0**17, DAY, 27, 0.2) == 3 * 27 ** (1 / 3) * 0.2
    assert score(HOUR, 10 * HOUR, 0, 1.0) == score(HOUR, 10 * HOUR, 1, 1.0) == 3600 / 65536
    assert score(HOUR, HOUR, 4, 1.0) == pytest.approx(3600 / 4096 * 1.587401)
    assert score(-5.0, HOUR, 4, 1.0) == 0.0


def test_one_hour_of_waiting_does_for_one_hour_what_sixteen_do_for_sixteen() -> None:
    assert score(HOUR, HOUR, 1, 1.0) == score(16 * HOUR, 16 * HOUR, 1, 1.0)


def test_the_width_counts_from_one_for_no_gpu_or_one_to_two_for_eight() -> None:
    assert [width_factor(gpus) for gpus in (0, 1, 8)] == [1.0, 1.0, 2.0]
    assert width_factor(2) == pytest.approx(1.26, abs=0.001)


def test_lengths_count_as_the_power_of_two_above_from_ten_minutes_to_seven_days() -> None:
    assert [length_class(seconds) for seconds in (0.0, 1.0, 600.0, 1024.0)] == [1024.0] * 4
    assert [length_class(seconds) for seconds in (1024.5, 2048.0, 2048.5)] == [2048.0, 2048.0, 4096.0]
    assert (length_class(HOUR), length_class(DAY)) == (4096.0, 2.0**17)
    assert [length_class(seconds) for seconds in (524288.0, 524289.0, 7 * DAY, 30 * DAY, inf)] == [
        2.0**19,
        *[2.0**20] * 4,
    ]


@given(st.floats(0.0, 1e9))
def test_a_length_counts_as_no_less_than_it_is_and_less_than_twice_that_within_bounds(seconds: float) -> None:
    bounded = min(max(seconds, 600.0), 7 * DAY)
    assert bounded <= length_class(seconds) < 2 * bounded


# The order.


def test_what_was_put_to_the_front_last_comes_before_priority_and_priority_before_the_score() -> None:
    made = line(
        job(1, priority=200), job(2, top_at=5.0), job(3, "v", top_at=6.0, priority=0), job(4, "v", NOW, priority=201)
    )
    assert order(made, v=0.001) == [3, 2, 4, 1]


def test_users_with_less_usage_come_first_and_equal_ones_in_order_of_readiness_and_then_of_submission() -> None:
    made = line(job(1, "a"), job(2, "b"), job(3, "a"), job(4, "b"), job(5, "c"), job(6, "c", -1.0))
    assert order(made) == [6, 1, 2, 3, 4, 5]
    assert order(made, a=0.25, b=0.5) == [6, 5, 2, 4, 1, 3]
    assert order(made, a=0.5, b=0.5, c=0.5) == [6, 1, 2, 3, 4, 5]


def test_who_has_waited_for_longer_for_its_length_is_first() -> None:
    made = line(
        job(1, ready=NOW - HOUR, time_limit=HOUR),
        job(2, ready=NOW - 17 * HOUR, time_limit=16 * HOUR),
        job(3, ready=NOW - 15 * HOUR, time_limit=16 * HOUR),
        job(4, ready=NOW - HOUR, gpus=2, time_limit=HOUR),
    )
    assert order(made) == [4, 2, 1, 3]


def test_equal_waiting_puts_the_short_first_and_from_seven_days_on_all_are_equal() -> None:
    made = line(
        job(1, time_limit=30 * DAY),
        job(2, time_limit=7 * DAY),
        job(3, time_limit=DAY),
        job(4, time_limit=HOUR),
        job(5, time_limit=HOUR),
    )
    assert order(made) == [4, 5, 3, 1, 2]


def test_a_job_without_a_limit_counts_as_what_is_predicted_for_its_user_width_and_label() -> None:
    made = line(
        job(1, time_limit=None),
        job(2, label="train", time_limit=None),
        job(3, label=77, gpus=2, time_limit=None),
        job(4, time_limit=2 * HOUR),
    )
    asked: list[tuple[str, int, Label]] = []

    def predicted(user: str, gpus: int, label: Label) -> float:
        asked.append((user, gpus, label))
        return {None: DAY, "train": HOUR, 77: 9 * DAY}[label]

    assert list(made.walk(Walker(NOW, {}, predicted))) == [2, 4, 1, 3]
    assert set(asked) == {("u", 0, None), ("u", 0, "train"), ("u", 2, 77)}


def test_the_order_changes_with_time_as_scores_grow_at_different_rates() -> None:
    made = line(job(1, ready=0.0, time_limit=10 * HOUR), job(2, ready=4 * HOUR, time_limit=HOUR))
    assert [list(made.walk(Walker(at, {}, a_day))) for at in (4 * HOUR, 5 * HOUR)] == [[1, 2], [2, 1]]


# What comes and goes.


def test_a_job_that_is_not_there_is_dropped_without_a_word() -> None:
    made = line(job(1), job(3), job(5, time_limit=None, label="x"))
    for each in (
        job(2), job(4), job(1, "v"), job(1, priority=1), job(1, ready=1.0), job(1, gpus=1), job(5, time_limit=None),
        job(1, time_limit=DAY), job(1), job(1),
    ):  # fmt: skip
        made.drop(*each)
    assert order(made) == [3, 5]
    made.drop(*job(3))
    made.drop(*job(5, time_limit=None, label="x"))
    assert order(made) == []


def test_the_line_knows_who_is_in_it() -> None:
    made = line(job(1), job(2, time_limit=None, label="x"))
    assert made.has(*job(1))
    assert made.has(*job(2, time_limit=None, label="x"))
    for each in (job(3), job(1, ready=1.0), job(1, "v"), job(1, priority=1), job(2, time_limit=None)):
        assert not made.has(*each)


def test_jobs_get_another_label_all_at_once() -> None:
    mine = [job(number, ready=float(number), time_limit=None) for number in range(1, 7)]
    made = line(*mine, job(7, "v", time_limit=None), job(8, gpus=1, time_limit=None), job(9, time_limit=HOUR))
    made.relabel([each.job for each in mine[1::2]], None, "x")
    lengths: dict[Label, float] = {None: DAY, "x": HOUR}

    def walked() -> list[int]:
        return list(made.walk(Walker(NOW, {}, lambda user, gpus, label: lengths[label])))

    assert walked() == [9, 2, 4, 6, 7, 8, 1, 3, 5]
    assert [made.has(each.job, Seat(each.seat.ready, "x")) for each in mine] == [False, True] * 3
    made.relabel([each.job for each in mine], None, "x")
    assert walked() == [9, 1, 2, 3, 4, 5, 6, 7, 8]
    made.relabel([each.job for each in mine], "x", "x")
    made.relabel([each.job for each in mine], "y", None)
    made.relabel([], "x", None)
    assert walked() == [9, 1, 2, 3, 4, 5, 6, 7, 8]
    for each in mine:
        made.drop(each.job, Seat(each.seat.ready, "x"))
    assert walked() == [9, 7, 8]


# What is passed over.


def test_all_that_are_like_one_are_passed_over_in_one_step() -> None:
    made = line(*(job(number) for number in range(1, 100)), job(100, "v", -1.0))
    asked: list[int] = []

    def beyond(job_id: int) -> int | None:
        asked.append(job_id)
        return 90 if 10 <= job_id < 90 else None

    assert list(made.walk(Walker(NOW, {}, a_day, beyond))) == [100, *range(1, 10), *range(90, 100)]
    assert asked == [100, *range(1, 11), *range(90, 100)]


def test_what_is_ready_at_another_time_is_not_passed_over_unasked() -> None:
    made = line(job(1), job(2), job(3, ready=5.0), job(4, ready=5.0), job(5))
    asked: list[int] = []

    def beyond(job_id: int) -> int | None:
        asked.append(job_id)
        return 5 if job_id < 5 else None

    assert list(made.walk(Walker(NOW, {}, a_day, beyond))) == [5]
    assert asked == [1, 5, 3]


def test_who_was_promised_a_start_is_first_of_its_priority_as_long_as_it_is_there() -> None:
    every = [job(1), job(2, "v", 1.0), job(3, time_limit=600.0), job(4, priority=11), job(5, priority=9)]
    made = line(*every)
    for first, found in (
        ([job(1)], [4, 1, 3, 2, 5]),
        ([job(2, "v", 1.0)], [4, 2, 3, 1, 5]),
        ([job(5, priority=9)], [4, 3, 1, 2, 5]),
        ([job(9)], [4, 3, 1, 2, 5]),
        ([job(1, "nobody")], [4, 3, 1, 2, 5]),
        ([job(2, "v")], [4, 3, 1, 2, 5]),
        ([every[1], every[4], every[0]], [4, 2, 1, 3, 5]),
    ):
        assert list(made.walk(walker(), first)) == found
    passing = Walker(NOW, {}, a_day, lambda job_id: 2 if job_id == 1 else None)
    assert list(made.walk(passing, [job(1)])) == [4, 3, 2, 5]


def test_what_asks_for_as_much_and_takes_as_long_is_passed_over_once_one_could_not_start() -> None:
    made = line(
        job(1, gpus=1), job(2, gpus=1, time_limit=HOUR - 1), job(3, gpus=2), job(4, "v", gpus=1), job(5, gpus=1, cpus=2)
    )
    going = walker()
    made.rule_out(going, job(1, gpus=1).job, HOUR, personal=False)
    assert list(made.walk(going)) == [3, 2, 5]
    going = walker()
    made.rule_out(going, job(1, gpus=1).job, HOUR, personal=True)
    assert list(made.walk(going)) == [3, 2, 4, 5]
    going = walker()
    made.rule_out(going, job(1, gpus=1).job, 0.0, personal=True)
    made.rule_out(going, job(1, gpus=1).job, HOUR, personal=True)
    made.rule_out(going, job(9, gpus=9).job, 0.0, personal=False)
    assert list(made.walk(going)) == [3, 4, 5]


def test_what_is_ruled_out_on_the_way_does_not_come_any_more() -> None:
    made = line(*(job(number, "uv"[number % 2], ready=float(number), gpus=number % 3) for number in range(30)))
    going, found = walker(), []
    for job_id in made.walk(going):
        found.append(job_id)
        if len(found) == 6:
            made.rule_out(going, job(1, gpus=1).job, 0.0, personal=False)
            made.rule_out(going, job(1, "v", gpus=2).job, 0.0, personal=True)
    every = order(made)
    assert found == [*every[:6], *(number for number in every[6:] if number % 3 == 0 or number % 6 == 2)]


def test_the_walk_ends_when_nothing_of_any_shape_can_start() -> None:
    made = line(*(job(number, "uvw"[number % 3], gpus=number % 2) for number in range(50)))
    going, found = walker(), []
    for job_id in made.walk(going):
        found.append(job_id)
        made.rule_out(going, job(0, gpus=job_id % 2).job, 0.0, personal=False)
    assert found == [0, 1]


def test_jobs_of_a_shape_of_which_none_is_left_are_no_reason_to_walk_on() -> None:
    gone = job(1, gpus=3)
    made = line(gone, job(2), job(3), job(4, priority=0))
    made.drop(*gone)
    going, found = walker(), []
    for job_id in made.walk(going):
        found.append(job_id)
        made.rule_out(going, job(2).job, 0.0, personal=False)
    assert found == [2]


def test_jobs_with_and_without_a_limit_are_of_two_shapes_and_so_are_those_of_two_projects() -> None:
    shapes = [shape(each.job.spec) for each in (job(1), job(2, time_limit=None), job(3, project="p"), job(4, "v"))]
    assert len(set(shapes)) == 3
    assert shapes[0] == shapes[3]


# In general.

LIMITS = (None, 1.0, 600.0, 1024.0, 1025.0, HOUR, 4096.0, DAY, 9 * DAY)
LENGTHS = {None: DAY, 7: 700.0, 8: 3 * HOUR, "x": HOUR, "y": 40 * DAY}
JOBS = st.lists(
    st.builds(
        job,
        st.integers(1, 60),
        st.sampled_from("abc"),
        st.integers(-2000, 2000).map(lambda hours: NOW - 60.0 * (hours + 2000)) | st.sampled_from([NOW, NOW - DAY]),
        st.sampled_from(list(LENGTHS)),
        st.sampled_from([None, None, 1.0, 2.0]),
        priority=st.sampled_from([0, 10]),
        gpus=st.sampled_from([0, 1, 2, 8]),
        time_limit=st.sampled_from(LIMITS),
    ),
    max_size=40,
    unique_by=lambda each: each.job.id,
)
SHARES = st.dictionaries(st.sampled_from("abc"), st.sampled_from([1.0, 0.5, 0.25]))  # exact in binary


def predicted(user: str, gpus: int, label: Label) -> float:
    """Another one for each user and width, exact."""
    return LENGTHS[label] + 8 * gpus + ord(user)


def seconds(each: Placed) -> float:
    spec = each.job.spec
    return predicted(spec.user, spec.gpus, each.seat.label) if spec.time_limit is None else spec.time_limit


def sorted_by_score(placed: list[Placed], shares: dict[str, float]) -> list[Placed]:
    def key(each: Placed) -> object:
        spec, ready = each.job.spec, each.seat.ready
        urgency = score(NOW - ready, seconds(each), spec.gpus, shares.get(spec.user, 1.0))
        return band(each.job), -urgency, ready, each.job.id

    return sorted(placed, key=key)


def relabelled(made: PriorityOrder, placed: list[Placed], data: st.DataObject) -> list[Placed]:
    """Gives some jobs without a limit, of a user and width, another label."""
    limited = [each for each in placed if each.job.spec.time_limit is not None]
    unlimited = [each for each in placed if each.job.spec.time_limit is None]
    if unlimited:
        spec = data.draw(st.sampled_from(unlimited)).job.spec
        before, after = data.draw(st.sampled_from(list(LENGTHS))), data.draw(st.sampled_from(list(LENGTHS)))
        alike = [each for each in unlimited if (each.job.spec.user, each.job.spec.gpus) == (spec.user, spec.gpus)]
        chosen = data.draw(st.lists(st.sampled_from(alike), unique=True))
        made.relabel([each.job for each in chosen], before, after)
        unlimited = [
            Placed(each.job, Seat(each.seat.ready, after)) if each in chosen and each.seat.label == before else each
            for each in unlimited
        ]
    return limited + unlimited


@given(JOBS, SHARES, st.data())
def test_the_line_is_the_queue_sorted(placed: list[Placed], shares: dict[str, float], data: st.DataObject) -> None:
    made = line(*placed)
    for _ in range(data.draw(st.integers(0, 3))):
        placed = relabelled(made, placed, data)
        gone = data.draw(st.lists(st.sampled_from(placed), unique=True)) if placed else []
        for each in gone:
            made.drop(*each)
        placed = [each for each in placed if each not in gone]
        for each in data.draw(st.lists(st.sampled_from(gone), unique=True)) if gone else []:
            made.add(*each)
            placed.append(each)
    assert list(made.walk(Walker(NOW, shares, predicted))) == [each.job.id for each in sorted_by_score(placed, shares)]
    assert all(made.has(*each) for each in placed)


@given(JOBS, SHARES, st.data())
def test_exactly_what_is_ruled_out_is_missing_and_all_else_is_in_its_place(
    placed: list[Placed], shares: dict[str, float], data: st.DataObject
) -> None:
    made, going = line(*placed), Walker(NOW, shares, predicted)
    expected = sorted_by_score(placed, shares)
    ruled: list[tuple[Placed, float, bool]] = []

    def is_ruled_out(each: Placed) -> bool:
        return any(
            shape(each.job.spec) == shape(its.job.spec)
            and seconds(each) >= length
            and (not personal or each.job.spec.user == its.job.spec.user)
            for its, length, personal in ruled
        )

    def rule_out() -> None:
        for its in data.draw(st.lists(st.sampled_from(placed), max_size=3)) if placed else []:
            length = data.draw(st.sampled_from([0.0, seconds(its), 1000.0, HOUR]))
            ruled.append((its, length, data.draw(st.booleans())))
            made.rule_out(going, its.job, length, personal=ruled[-1][2])

    rule_out()
    found = iter(list(expected))
    for job_id in made.walk(going):
        coming = next(each for each in found if not is_ruled_out(each))
        assert job_id == coming.job.id
        if data.draw(st.booleans()):
            rule_out()
    assert all(is_ruled_out(each) for each in found)


@given(JOBS, SHARES, st.data())
def test_the_promised_are_before_all_of_their_band_in_the_order_given(
    placed: list[Placed], shares: dict[str, float], data: st.DataObject
) -> None:
    pinned = data.draw(st.lists(st.sampled_from(placed), unique=True)) if placed else []
    rest = [each for each in sorted_by_score(placed, shares) if each not in pinned]
    expected = sorted(pinned + rest, key=lambda each: band(each.job))
    assert list(line(*placed).walk(Walker(NOW, shares, predicted), pinned)) == [each.job.id for each in expected]
