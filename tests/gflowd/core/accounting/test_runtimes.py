from __future__ import annotations

from math import inf
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import specs

from gflowd.core.accounting.runtimes import (
    ARRAY,
    ASSUMED,
    DEFAULT,
    EVERYBODY,
    GUESS,
    LIMIT,
    NAME,
    NAMES,
    USER,
    WIDTH,
    Length,
    Runtimes,
    lasted,
    record,
    record_id,
    remaining,
)
from gflowd.core.job import reasons
from gflowd.core.job.model import CANCELLED, FAILED, FINISHED, TIMEOUT, Job, Queued, Wish

SPEC = specs.SPEC.replace(name="train", user="ada")


def job(array_id: int | None = None, **fields: object) -> Job:
    return Job(1, SPEC.replace(**fields), Wish(), Queued(), array_id)


def ran(made: Runtimes, *seconds: float, at: float = 1.0, **fields: object) -> None:
    """Notes runs that ended one after the other, as the register does."""
    spec = SPEC.replace(**fields)
    after = None
    for number, each in enumerate(seconds):
        after = record(after, spec, (at + number, each))
    assert after is not None
    made.take(record_id(spec), after)


# The prediction.


def test_a_time_limit_is_the_length_whatever_is_known() -> None:
    made = Runtimes()
    ran(made, 50.0)
    assert made.length(job(time_limit=9.0)) == Length(9.0, LIMIT)
    assert made.length(job(time_limit=9.0)).is_certain
    assert not made.length(job()).is_certain


def test_it_is_the_median_of_the_last_ten() -> None:
    made = Runtimes()
    ran(made, 30.0)
    assert made.length(job()) == Length(30.0, NAME, 1)
    ran(made, 30.0, 10.0, 80.0)
    assert made.length(job()) == Length(30.0, NAME, 3)
    ran(made, 30.0, 10.0, 80.0, 40.0)
    assert made.length(job()) == Length(35.0, NAME, 4)
    ran(made, *[1.0] * 30, *[7.0] * 6, *[9.0] * 4)
    assert made.length(job()) == Length(7.0, NAME, 10)


def test_the_narrowest_likeness_of_which_something_is_known_decides() -> None:
    made = Runtimes(default=5.0)
    assert made.length(job(77)) == Length(5.0, DEFAULT)
    ran(made, 10.0, 12.0, user="bob", gpus=2, name="other")
    assert made.length(job(77)) == Length(11.0, EVERYBODY, 2)
    ran(made, 20.0, gpus=3, name="other", at=10.0)
    assert made.length(job(77)) == Length(20.0, USER, 1)
    ran(made, 30.0, name="other", at=20.0)
    assert made.length(job(77)) == Length(30.0, WIDTH, 1)
    ran(made, 40.0, at=30.0)
    assert made.length(job(77)) == Length(40.0, NAME, 1)
    made.see(77, 78, (40.0, 50.0))
    assert made.length(job(77)) == Length(50.0, ARRAY, 1)
    assert made.length(job(78)) == made.length(job()) == Length(40.0, NAME, 1)
    made.forget_array(77)
    assert made.length(job(77)) == Length(40.0, NAME, 1)


def test_where_nothing_at_all_is_known_it_is_the_default_limit_or_a_day() -> None:
    assert Runtimes().length(job()) == Length(ASSUMED, GUESS) == (86400.0, "guess", 0)
    assert Runtimes(60.0).length(job()) == Length(60.0, DEFAULT)


def test_jobs_are_told_from_others_by_their_array_then_by_their_name() -> None:
    made = Runtimes()
    assert made.label(job(77)) is None
    ran(made, 10.0)
    assert [made.label(each) for each in (job(77), job(gpus=1), job(user="bob"), job(name="other"))] == [
        "train", None, None, None,
    ]  # fmt: skip
    made.see(77, 78, (1.0, 5.0))
    assert (made.label(job(77)), made.label(job(78)), made.knows(77), made.knows(78)) == (77, "train", True, False)
    assert made.predicted("ada", 0, 77) == Length(5.0, ARRAY, 1)
    assert made.predicted("ada", 0, "train") == Length(10.0, NAME, 1)
    assert made.predicted("ada", 0, None) == Length(10.0, WIDTH, 1)
    assert made.predicted("bob", 0, "train") == Length(10.0, EVERYBODY, 1)


def test_the_last_to_end_are_the_last_ten_in_whatever_order_they_are_told() -> None:
    made = Runtimes()
    for number in (5, 3, 11, 1, 12, 2, 4, 10, 6, 9, 8, 7):
        made.see(77, number, (float(number), 100.0 * number))
    assert made.length(job(77)) == Length(750.0, ARRAY, 10)
    made.see(77, 12, (12.0, 1200.0))
    assert made.length(job(77)) == Length(750.0, ARRAY, 10)
    made.see(77, 2, (2.0, 9999.0))
    assert made.length(job(77)) == Length(750.0, ARRAY, 10)


@given(st.lists(st.tuples(st.integers(0, 50).map(float), st.integers(0, 99).map(float)), min_size=1, unique=True))
def test_a_record_and_what_is_made_of_it_are_the_median_of_the_last_ten_ends(runs: list[tuple[float, float]]) -> None:
    made, after = Runtimes(), None
    for each in runs:
        after = record(after, SPEC, each)
        made.take(record_id(SPEC), after)
    last = sorted(runs)[-10:]
    expected = median(seconds for _, seconds in last)
    assert after == {"user": "ada", "gpus": 0, "name": "train", "runs": [list(each) for each in last]}
    anew = Runtimes()
    anew.take(record_id(SPEC), after)
    assert anew.length(job()) == Length(expected, NAME, len(last))
    assert made.length(job(name="other")) == Length(expected, WIDTH, len(last))


# Names.


def test_only_what_was_not_known_before_is_news() -> None:
    made = Runtimes()
    one = record(None, SPEC, (1.0, 10.0))
    assert made.take("0 ada train", one) == ("ada", 0, "train")
    assert made.take("0 ada train", one) is None
    assert made.take("0 ada train", record(one, SPEC, (2.0, 20.0))) is None
    assert made.length(job()) == Length(15.0, NAME, 2)
    assert made.take("0 ada train", None) == ("ada", 0, "train")
    assert made.take("0 ada train", None) is None
    assert made.take("2 bob a b", None) is None
    assert made.label(job()) is None
    assert made.length(job()) == Length(ASSUMED, GUESS)  # as if it were made anew from the records


def test_names_with_spaces_and_users_and_widths_are_kept_apart() -> None:
    made = Runtimes()
    for spec in (SPEC.replace(name="a b", gpus=2), SPEC.replace(name="a b"), SPEC.replace(name="b", user="ada")):
        made.take(record_id(spec), record(None, spec, (1.0, 10.0)))
    assert record_id(SPEC.replace(name="a b", gpus=2)) == "2 ada a b"
    assert made.take("2 ada a b", None) == ("ada", 2, "a b")
    assert [made.label(job(name=name, gpus=gpus)) for name, gpus in (("a b", 2), ("a b", 0), ("b", 0))] == [
        None, "a b", "b",
    ]  # fmt: skip


def test_of_long_names_the_beginning_counts() -> None:
    made = Runtimes()
    ran(made, 10.0, name="n" * 200 + "1")
    assert made.length(job(name="n" * 200 + "2")) == Length(10.0, NAME, 1)
    assert made.length(job(name="n" * 199)) == Length(10.0, WIDTH, 1)
    assert record_id(SPEC.replace(name="n" * 300)) == "0 ada " + "n" * 200


def test_sixty_four_names_are_remembered_and_the_one_that_has_not_run_for_longest_goes_first() -> None:
    made = Runtimes()
    assert NAMES == 64
    for number in range(63):
        ran(made, 10.0, name=f"n{number}")
    assert made.outdated("ada", 0, "new") is None
    ran(made, 10.0, name="n63")
    assert made.outdated("ada", 0, "n5") is None
    assert made.outdated("ada", 0, "new") == "0 ada n0"
    assert made.outdated("ada", 1, "new") is None
    assert made.outdated("bob", 0, "new") is None
    ran(made, 20.0, name="n0", at=9.0)
    assert made.outdated("ada", 0, "new") == "0 ada n1"
    made.take("0 ada n1", None)
    assert made.outdated("ada", 0, "new") is None


# What tells of a length.


@pytest.mark.parametrize("state", [FINISHED, FAILED, TIMEOUT])
def test_a_job_that_ended_by_itself_or_at_its_limit_tells_how_long_such_jobs_take(state: str) -> None:
    assert lasted({"state": state, "started_at": 10.0, "ended_at": 25.0}) == (25.0, 15.0)
    assert lasted({"state": state, "started_at": 10.0, "ended_at": 5.0, "reason": None}) == (5.0, 0.0)
    assert lasted({"state": state, "started_at": 10.0, "ended_at": 25.0, "paused": 4.0}) == (25.0, 11.0)


@pytest.mark.parametrize(
    "phase",
    [
        None,
        {},
        {"state": FINISHED, "ended_at": 5.0},
        {"state": FINISHED, "started_at": None, "ended_at": 5.0},
        {"state": CANCELLED, "started_at": 1.0, "ended_at": 5.0},
        {"started_at": 1.0},
        {"state": FAILED, "started_at": 1.0, "ended_at": 5.0, "reason": reasons.ZOMBIE},
    ],
)
def test_others_tell_nothing(phase: dict[str, object] | None) -> None:
    assert lasted(phase) is None


# What is overdue.


def test_what_has_a_limit_remains_until_then() -> None:
    assert [remaining(Length(100.0), elapsed) for elapsed in (0.0, 40.0, 100.0, 130.0)] == [100.0, 60.0, 0.0, -30.0]


def test_what_is_overdue_is_taken_to_need_twice_as_long_as_was_thought_and_so_on() -> None:
    length = Length(100.0, NAME, 3)
    assert [remaining(length, elapsed) for elapsed in (0.0, 40.0, 99.0, 100.0, 150.0, 200.0, 399.0, 400.0)] == [
        100.0, 60.0, 1.0, 100.0, 50.0, 200.0, 1.0, 400.0,
    ]  # fmt: skip
    assert remaining(Length(0.0, WIDTH, 1), 0.0) == 1.0
    assert remaining(Length(0.0, WIDTH, 1), 5.0) == 3.0


@given(st.floats(0.0, 1e7), st.floats(0.0, 1e7))
def test_what_is_overdue_remains_for_some_time_and_no_longer_than_it_has_run_or_was_thought_to(
    seconds: float, elapsed: float
) -> None:
    left = remaining(Length(seconds, USER, 1), elapsed)
    assert 0.0 < left <= max(seconds, elapsed, 1.0) < inf


def test_an_element_that_is_to_run_again_tells_nothing_any_more() -> None:
    made = Runtimes()
    made.see(77, 77, (1.0, 5.0))
    made.see(77, 78, (2.0, 9.0))
    made.see(77, 77, None)
    assert made.length(job(77)) == Length(9.0, ARRAY, 1)
    made.see(77, 78, None)
    assert not made.knows(77)
    made.see(77, 79, None)
    assert not made.knows(77)


RUNS = st.none() | st.tuples(st.integers(1, 30), st.sampled_from([30.0, 800.0, 9000.0]))
TOLD = st.tuples(st.sampled_from(["ada", "bob"]), st.integers(0, 1), st.sampled_from(["a", "b"]), RUNS)


@given(st.lists(TOLD, max_size=40))
def test_what_is_known_rests_on_the_records_that_are_left(told: list[Any]) -> None:
    followed = Runtimes()
    left: dict[str, Any] = {}
    for user, gpus, name, run in told:
        spec = SPEC.replace(user=user, gpus=gpus, name=name)
        key = record_id(spec)
        left[key] = None if run is None else record(left.get(key), spec, run)
        followed.take(key, left[key])
    anew = Runtimes()
    for key, each in left.items():
        anew.take(key, each)
    for user in ("ada", "bob", "eve"):
        for gpus in (0, 1, 2):
            for label in ("a", "b", None):
                assert followed.predicted(user, gpus, label) == anew.predicted(user, gpus, label)
