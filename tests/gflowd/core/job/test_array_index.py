from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.job import arrays
from gflowd.core.job.array_index import ArrayIndex
from gflowd.core.job.arrays import Family

SINGLE: dict[str, Any] = {"name": "x"}


def array(size: int) -> dict[str, Any]:
    return {"name": "x", "family": arrays.to_json(Family(ranges=((5, 4 + size, 1),)))}


def test_elements_have_the_ids_from_their_arrays_own() -> None:
    array_index = ArrayIndex()
    array_index.note(3, SINGLE)
    array_index.note(4, array(3))
    array_index.note(7, SINGLE)
    assert [array_index.array_of(job_id) for job_id in range(2, 9)] == [None, None, 4, 4, 4, None, None]
    assert [array_index.spec_of(job_id) for job_id in range(2, 9)] == [2, 3, 4, 4, 4, 7, 8]
    assert [array_index.ids(spec_id) for spec_id in (3, 4, 7)] == [range(3, 4), range(4, 7), range(7, 8)]
    assert array_index.families == {4: Family(ranges=((5, 7, 1),))}


def test_an_array_that_is_gone_has_no_elements() -> None:
    array_index = ArrayIndex()
    array_index.note(4, array(3))
    array_index.note(9, array(2))
    array_index.note(4, None)
    assert [array_index.array_of(job_id) for job_id in (4, 5, 9)] == [None, None, 9]
    assert array_index.ids(4) == range(4, 5)
    array_index.note(9, SINGLE)
    assert (array_index.array_of(10), array_index.families) == (None, {})
    array_index.note(9, None)
    assert array_index.ids(9) == range(9, 10)


def test_an_array_that_is_noted_again_counts_once() -> None:
    array_index = ArrayIndex()
    array_index.note(4, array(3))
    array_index.note(4, array(2))
    assert [array_index.array_of(job_id) for job_id in (4, 5, 6)] == [4, 4, None]
    array_index.note(4, None)
    assert array_index.array_of(4) is None


@given(st.lists(st.none() | st.integers(1, 5), max_size=12), st.randoms(use_true_random=False))
def test_whatever_the_order_in_which_they_are_noted(sizes: list[int | None], random: Any) -> None:
    specs: dict[int, dict[str, Any]] = {}
    owner: dict[int, int | None] = {}
    next_id = 1
    for size in sizes:
        specs[next_id] = SINGLE if size is None else array(size)
        owner.update(dict.fromkeys(range(next_id, next_id + (size or 1)), None if size is None else next_id))
        next_id += size or 1
    array_index = ArrayIndex()
    for spec_id in random.sample(sorted(specs), len(specs)):
        array_index.note(spec_id, specs[spec_id])
    assert {job_id: array_index.array_of(job_id) for job_id in owner} == owner
    assert array_index.array_of(next_id) is None
