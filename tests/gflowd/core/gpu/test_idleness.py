from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.gpu import idleness
from gflowd.core.gpu.idleness import Idleness

A, B = (1, 1), (2, 3)
GAP = 30.0


def follow(*polls: tuple[float, dict[int, int | None]], held: dict[tuple[int, int], tuple[int, ...]]) -> Idleness:
    found = Idleness()
    for at, utilisation in polls:
        found = idleness.follow(found, held, utilisation, at, GAP)
    return found


def test_a_job_is_idle_since_the_first_poll_that_saw_all_its_gpus_so() -> None:
    held = {A: (0, 1), B: (2,)}
    found = follow(
        (10.0, {0: 0, 1: 5, 2: 0}), (20.0, {0: 0, 1: 0, 2: 0}), (30.0, {0: 0, 1: 0, 2: 0}), held=held
    )  # fmt: skip
    assert found.since == {A: 20.0, B: 10.0}
    assert idleness.idle_for(found, 20.0) == (B,)
    assert idleness.idle_for(found, 10.0) == (A, B)
    assert idleness.idle_for(found, 20.1) == ()
    assert idleness.idle_for(found, None) == ()


def test_the_next_that_will_have_been_idle_for_too_long_is_known_beforehand() -> None:
    found = Idleness(100.0, {A: 80.0, B: 95.0})
    assert idleness.next_due(found, 30.0, 90.0) == 110.0
    assert idleness.next_due(found, 20.0, None) == 115.0, "the first was at that poll"
    assert idleness.next_due(found, None, 5.0) is None
    assert idleness.next_due(Idleness(), 5.0) is None


def test_a_moment_of_work_begins_the_count_anew() -> None:
    found = follow((10.0, {0: 0}), (20.0, {0: 1}), (30.0, {0: 0}), (40.0, {0: 0}), held={A: (0,)})
    assert found.since == {A: 30.0}


def test_what_is_not_known_is_taken_for_work() -> None:
    assert follow((10.0, {0: None}), held={A: (0,)}).since == {}
    assert follow((10.0, {}), held={A: (0,)}).since == {}
    assert follow((10.0, {0: 0, 1: None}), held={A: (0, 1)}).since == {}


def test_a_job_without_gpus_is_never_idle() -> None:
    assert follow((10.0, {0: 0}), held={A: ()}).since == {}


def test_what_nobody_watched_does_not_count() -> None:
    assert follow((10.0, {0: 0}), (40.0, {0: 0}), held={A: (0,)}).since == {A: 10.0}
    assert follow((10.0, {0: 0}), (40.1, {0: 0}), held={A: (0,)}).since == {A: 40.1}


def test_the_same_poll_twice_says_nothing_new() -> None:
    found = follow((10.0, {0: 0}), held={A: (0,)})
    assert idleness.follow(found, {}, {}, 10.0, GAP) is found
    assert idleness.follow(found, {}, {}, 9.0, GAP) is found


def test_another_attempt_is_another_job() -> None:
    found = follow((10.0, {0: 0}), held={A: (0,)})
    found = idleness.follow(found, {(1, 2): (0,)}, {0: 0}, 20.0, GAP)
    assert found.since == {(1, 2): 20.0}


@given(
    st.lists(
        st.tuples(st.floats(0.1, 40.0), st.lists(st.sampled_from([0, 0, 0, 7, None]), min_size=3, max_size=3)),
        max_size=30,
    )
)
def test_whoever_is_idle_was_seen_idle_all_the_time(polls: list[tuple[float, list[int | None]]]) -> None:
    """Against the definition: every poll since then saw it idle, none too late after the one before."""
    held = {A: (0, 1), B: (2,)}
    found, at, history = Idleness(), 0.0, []
    for pause, seen in polls:
        before, at = at, at + pause
        utilisation = dict(enumerate(seen))
        found = idleness.follow(found, held, utilisation, at, GAP)
        history.append((at, at - before <= GAP and len(history) > 0, utilisation))
    for key, gpus in held.items():
        since = None
        for moment, joined, utilisation in history:
            idle = all(utilisation[gpu] == 0 for gpu in gpus)
            since = None if not idle else since if since is not None and joined else moment
        assert found.since.get(key) == since
