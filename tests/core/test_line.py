from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.line import DAY, Line, band, place
from gflowd.core.model import Job, Queued, Spec, Wish

HOUR = 3600.0
SPEC = Spec(command=("x",), name="x", user="u", cwd="/", env="e", submitted_at=1.0)


def job(job_id: int, user: str = "u", top_at: float | None = None, **fields: object) -> Job:
    return Job(job_id, SPEC.replace(user=user, **fields), Wish(top_at=top_at), Queued())


def line(*jobs: Job) -> Line:
    made = Line()
    for each in jobs:
        made.add(each)
    return made


def order(made: Line, **usage: float) -> list[int]:
    return list(made.walk(usage, lambda _: None))


def test_what_was_put_to_the_front_last_comes_before_priority_and_priority_before_usage() -> None:
    made = line(
        job(1, priority=200), job(2, top_at=5.0), job(3, "v", top_at=6.0, priority=0), job(4, "v", priority=201)
    )
    assert order(made, v=9.0) == [3, 2, 4, 1]


def test_users_with_less_usage_come_first_and_equal_ones_in_order_of_submission() -> None:
    made = line(job(1, "a"), job(2, "b"), job(3, "a"), job(4, "b"), job(5, "c"))
    assert order(made) == [1, 2, 3, 4, 5]
    assert order(made, a=2.0, b=1.0) == [5, 2, 4, 1, 3]
    assert order(made, a=1.0, b=1.0, c=1.0) == [1, 2, 3, 4, 5]


def test_short_time_limits_come_first_beyond_a_day_all_are_equal_and_none_is_last() -> None:
    made = line(
        job(1), job(2, time_limit=9 * DAY), job(3, time_limit=DAY), job(4, time_limit=HOUR), job(5, time_limit=HOUR)
    )
    assert order(made) == [4, 5, 2, 3, 1]


def test_the_scores_are_those_of_the_original() -> None:
    scores = [-place(job(1, time_limit=limit))[0] for limit in (None, 0.0, DAY / 2, DAY, 2 * DAY)]
    assert scores == [100, 300, 250, 200, 200]


def test_a_job_that_is_not_there_is_dropped_without_a_word() -> None:
    made = line(job(1), job(3))
    for each in (job(2), job(4), job(1, "v"), job(1, priority=1), job(1), job(1)):
        made.drop(each)
    assert order(made) == [3]
    made.drop(job(3))
    assert order(made) == []


def test_all_that_are_like_one_are_passed_over_in_one_step() -> None:
    made = line(*(job(number) for number in range(1, 100)), job(50, "v", time_limit=HOUR))
    asked: list[int] = []

    def beyond(job_id: int) -> int | None:
        asked.append(job_id)
        return 90 if 10 <= job_id < 90 else None

    assert list(made.walk({}, beyond)) == [*range(1, 10), *range(90, 100)]
    assert asked == [50, *range(1, 11), *range(90, 100)]


def test_who_was_promised_a_start_is_first_of_its_priority_as_long_as_it_is_there() -> None:
    made = line(job(1), job(2, "v"), job(3, time_limit=HOUR), job(4, priority=11), job(5, priority=9))
    for first, found in (
        (job(1), [4, 1, 3, 2, 5]),
        (job(2, "v"), [4, 2, 3, 1, 5]),
        (job(5, priority=9), [4, 3, 1, 2, 5]),
        (job(9), [4, 3, 1, 2, 5]),
        (job(1, "nobody"), [4, 3, 1, 2, 5]),
    ):
        assert list(made.walk({}, lambda _: None, first)) == found
    assert list(made.walk({}, lambda job_id: 2 if job_id == 1 else None, job(1))) == [4, 3, 2, 5]


JOBS = st.lists(
    st.builds(
        job,
        st.integers(1, 30),
        st.sampled_from("abc"),
        st.sampled_from([None, 1.0, 2.0]),
        priority=st.sampled_from([0, 10]),
        time_limit=st.sampled_from([None, HOUR, DAY]),
    ),
    unique_by=lambda each: each.id,
)


@given(JOBS, st.dictionaries(st.sampled_from("abc"), st.sampled_from([0.0, 1.0])), st.data())
def test_the_line_is_the_queue_sorted(jobs: list[Job], usage: dict[str, float], data: st.DataObject) -> None:
    made = line(*jobs)
    gone = data.draw(st.lists(st.sampled_from(jobs), unique=True)) if jobs else []
    for each in gone:
        made.drop(each)
    left = [each for each in jobs if each not in gone]
    left.sort(key=lambda each: (band(each), usage.get(each.spec.user, 0.0), place(each)))
    assert order(made, **usage) == [each.id for each in left]
