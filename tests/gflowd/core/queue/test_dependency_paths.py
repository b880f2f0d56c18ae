from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from support import depth

from gflowd.core.queue import dependency_paths

MANY = depth.number(10_000, 2000)  # more than Python's stack is deep


class Edges:
    """A relation, and how often it was asked for."""

    def __init__(self, of: Mapping[int, Sequence[int]]) -> None:
        self.of = of
        self.asked = 0

    def __call__(self, job_id: int) -> Sequence[int]:
        self.asked += 1
        return self.of.get(job_id, ())


def test_the_way_round_is_named() -> None:
    waits_for = Edges({7: [8, 9], 9: [5]})
    assert dependency_paths.cycle(5, [6, 7], waits_for) == [5, 7, 9, 5]
    assert dependency_paths.cycle(5, [5], waits_for) == [5, 5]
    assert dependency_paths.cycle(5, [8, 6], waits_for) is None
    assert dependency_paths.cycle(5, [], waits_for) is None


def test_a_cycle_elsewhere_is_not_ours() -> None:
    assert dependency_paths.cycle(5, [7], Edges({7: [8], 8: [7]})) is None


def test_who_waits_for_an_element_waits_for_its_array() -> None:
    assert dependency_paths.cycle(42, [50], Edges({50: [45]}), elements=range(42, 52)) is not None
    assert dependency_paths.cycle(42, [60], Edges({60: [45]}), elements=range(42, 52)) == [42, 60, 45]
    assert dependency_paths.cycle(42, [60], Edges({60: [45]})) is None


def test_a_long_chain_and_a_wide_fan_are_walked_once() -> None:
    chain = Edges({job_id: [job_id - 1] for job_id in range(2, MANY + 1)})
    assert dependency_paths.cycle(1, [MANY], chain) == [1, *range(MANY, 0, -1)]
    assert chain.asked < MANY
    fan = Edges({job_id: range(1, 101) for job_id in range(101, 201)})
    assert dependency_paths.cycle(500, range(101, 201), fan) is None
    assert fan.asked == 200


EDGES = st.dictionaries(st.integers(0, 7), st.lists(st.integers(0, 7), max_size=4))


@given(EDGES, st.integers(0, 7), st.lists(st.integers(0, 7), max_size=3))
def test_a_cycle_is_found_exactly_where_there_is_one(
    of: dict[int, Sequence[int]], job_id: int, wanted: list[int]
) -> None:
    way = dependency_paths.cycle(job_id, wanted, Edges(of))
    reached, todo = set[int](), list(wanted)
    while todo:
        here = todo.pop()
        if here not in reached:
            reached.add(here)
            todo += of.get(here, ())
    assert (way is not None) == (job_id in reached)
    if way is not None:
        assert way[0] == way[-1] == job_id
        assert way[1] in wanted
        assert all(there in of[here] for here, there in pairwise(way[1:]))


def test_a_cascade_is_all_that_fell() -> None:
    victims = Edges({1: [2, 3], 2: [4], 9: [10]})
    waits_for = Edges({2: [1], 3: [1], 4: [2, 3]})
    assert dependency_paths.cascade([1], victims, waits_for) == [2, 3, 4]
    assert dependency_paths.cascade([5], victims, waits_for) == []
    assert dependency_paths.cascade([1, 2, 9], victims, waits_for) == [3, 4, 10]


def test_who_waited_for_another_that_fell_comes_after_it() -> None:
    """2 waited for 1 and, by an update, for 4, which fell later."""
    victims = Edges({1: [2, 3], 3: [4]})
    waits_for = Edges({2: [1, 4], 3: [1], 4: [3]})
    assert dependency_paths.cascade([1], victims, waits_for) == [3, 4, 2]


def test_a_long_cascade_is_walked_once() -> None:
    victims = Edges({job_id: [job_id + 1] for job_id in range(1, MANY)})
    waits_for = Edges({job_id: [job_id - 1] for job_id in range(2, MANY + 1)})
    assert dependency_paths.cascade([1], victims, waits_for) == list(range(2, MANY + 1))
    assert (victims.asked, waits_for.asked) == (MANY, MANY - 1)
    backwards = Edges({job_id: [job_id + 1] for job_id in range(2, MANY)})
    assert dependency_paths.cascade([1], victims, backwards) == list(range(MANY, 1, -1))


@given(EDGES, EDGES, st.lists(st.integers(0, 7), max_size=2))
def test_a_cascade_names_each_once_and_in_order(
    victims: dict[int, Sequence[int]], waits_for: dict[int, Sequence[int]], ids: list[int]
) -> None:
    earlier = {job_id: [other for other in others if other < job_id] for job_id, others in waits_for.items()}
    found = dependency_paths.cascade(ids, Edges(victims), Edges(earlier))
    assert len(set(found)) == len(found)
    assert set(found).isdisjoint(ids)
    places = {job_id: place for place, job_id in enumerate(found)}
    assert all(places.get(other, -1) < place for job_id, place in places.items() for other in earlier.get(job_id, ()))
    assert sorted(dependency_paths.cascade(ids, Edges(victims), Edges(waits_for))) == sorted(found)
