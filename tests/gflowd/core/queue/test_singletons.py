from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.queue.singletons import Singletons

ADA, BOB = ("ada", "train"), ("bob", "train")


def test_the_first_in_the_queue_is_alone() -> None:
    names = Singletons()
    for job_id in (3, 1, 2):
        names.queue(job_id, ADA)
    names.queue(4, BOB)
    assert [names.is_alone(job_id, ADA) for job_id in (1, 2, 3)] == [True, False, False]
    assert names.is_alone(4, BOB)
    names.start(1, ADA)
    assert names.is_alone(1, ADA)
    assert not names.is_alone(2, ADA)
    names.leave(1)
    assert names.is_alone(2, ADA)
    assert not names.is_alone(3, ADA)


def test_a_later_one_that_runs_is_in_the_way_too() -> None:
    names = Singletons()
    names.queue(1, ADA)
    names.start(2, ADA)
    assert not names.is_alone(1, ADA)


def test_who_is_queued_again_is_in_the_way_again() -> None:
    names = Singletons()
    names.queue(1, ADA)
    names.queue(2, ADA)
    names.start(1, ADA)
    names.queue(1, ADA)
    assert names.is_alone(1, ADA)
    assert not names.is_alone(2, ADA)


def test_who_takes_another_name_is_in_the_way_there() -> None:
    names = Singletons()
    names.queue(1, ADA)
    names.queue(2, ADA)
    names.queue(3, BOB)
    names.queue(1, BOB)
    assert names.is_alone(2, ADA)
    assert not names.is_alone(3, BOB)


def test_who_was_never_there_may_leave() -> None:
    names = Singletons()
    names.leave(1)
    assert names.is_alone(1, ADA)


STEPS = st.lists(
    st.tuples(st.sampled_from(["queue", "start", "leave"]), st.integers(1, 6), st.sampled_from([ADA, BOB])), max_size=30
)


@given(STEPS)
def test_the_index_says_what_looking_at_all_says(steps: list[tuple[str, int, tuple[str, str]]]) -> None:
    names = Singletons()
    plain: dict[int, tuple[str, tuple[str, str]]] = {}
    for step, job_id, owner in steps:
        plain.pop(job_id, None)
        if step == "leave":
            names.leave(job_id)
        else:
            getattr(names, step)(job_id, owner)
            plain[job_id] = step, owner
        for asked in range(1, 7):
            theirs = plain[asked][1] if asked in plain else ADA
            others = {one: how for one, (how, whose) in plain.items() if whose == theirs and one != asked}
            free = not any(how == "start" or one < asked for one, how in others.items())
            assert names.is_alone(asked, theirs) == free
        for who in (ADA, BOB):
            waiting = {one for one, (how, whose) in plain.items() if how == "queue" and whose == who}
            assert set(names.queued(*who)) == waiting


def test_the_queued_of_a_name_are_found_without_those_that_are_gone_or_live() -> None:
    names = Singletons()
    for job_id in (3, 1, 2, 5):
        names.queue(job_id, ADA)
    names.queue(4, BOB)
    names.start(2, ADA)
    names.leave(5)
    assert sorted(names.queued(*ADA)) == [1, 3]
    assert list(names.queued(*BOB)) == [4]
    assert list(names.queued("eve", "x")) == []
