from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.gpu import allocation
from gflowd.core.gpu.allocation import choose
from gflowd.core.gpu.device import Gpu

PAIRS = {(0, 1): 400, (2, 3): 400, (0, 2): 10, (0, 3): 10, (1, 2): 10, (1, 3): 10}

free = st.lists(st.integers(0, 15), min_size=1, max_size=16, unique=True).map(sorted)
ranks = st.sampled_from((10, 20, 30, 40, 50, 100, 400))
ways = st.fixed_dictionaries(dict.fromkeys(combinations(range(16), 2), ranks))


def test_sequential_takes_the_lowest() -> None:
    assert choose([1, 3, 4], 2, "sequential", PAIRS, 7) == (1, 3)


def test_topology_takes_those_that_are_linked() -> None:
    assert choose([0, 1, 2, 3], 2, "topology", PAIRS, 7) == (0, 1)
    assert choose([0, 2, 3], 2, "topology", PAIRS, 7) == (2, 3)


def test_topology_tears_no_pair_apart_for_a_single_gpu() -> None:
    assert choose([0, 2, 3], 1, "topology", PAIRS, 7) == (0,)
    assert choose([0, 1, 2], 1, "topology", PAIRS, 7) == (2,)


def test_of_many_gpus_those_of_one_island_are_taken() -> None:
    near = {pair: 400 if pair[0] % 2 == pair[1] % 2 else 10 for pair in combinations(range(16), 2)}
    assert choose(range(16), 8, "topology", near, 7) == tuple(range(0, 16, 2))
    assert choose(range(1, 16), 8, "topology", near, 7) == tuple(range(1, 16, 2))


def test_topology_where_none_is_known_takes_the_lowest() -> None:
    assert choose([1, 2, 3], 2, "topology", None, 7) == (1, 2)


def test_random_depends_on_the_seed_alone() -> None:
    found = [choose(range(8), 1, "random", None, seed) for seed in range(200)]
    assert found == [choose(range(8), 1, "random", None, seed) for seed in range(200)]
    assert {ids[0] for ids in found} == set(range(8))


@given(free, st.data(), ways, st.sampled_from(("sequential", "random", "topology")), st.integers(0, 1 << 40))
def test_what_is_chosen_is_free_and_as_many_as_asked(
    candidates: list[int], data: st.DataObject, near: dict[tuple[int, int], int], how: str, seed: int
) -> None:
    count = data.draw(st.integers(0, len(candidates)))
    found = choose(candidates, count, how, near, seed)
    assert len(found) == count
    assert list(found) == sorted(set(found))
    assert set(found) <= set(candidates)


@given(st.data(), ways)
def test_of_few_gpus_none_are_closer_than_the_chosen(data: st.DataObject, near: dict[tuple[int, int], int]) -> None:
    candidates = data.draw(free.filter(lambda found: len(found) <= 8))
    count = data.draw(st.integers(0, len(candidates)))

    def within(chosen: tuple[int, ...]) -> int:
        return sum(near[pair] for pair in combinations(chosen, 2))

    found = choose(candidates, count, "topology", near, 0)
    assert within(found) == max(map(within, combinations(candidates, count)))


def test_closeness_is_read_from_the_links() -> None:
    links = [("X", "NV4", "PXB", "SYS"), ("NV4", "X", "?", "NODE")]
    gpus = [Gpu(index=i, uuid=str(i), model="M", memory_mb=1, links=words) for i, words in enumerate(links)]
    assert allocation.closeness(gpus) == {(0, 1): 400, (0, 2): 40, (0, 3): 10, (1, 2): 0, (1, 3): 20}
