from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.job import arrays
from gflowd.core.job.array_index import Roster
from gflowd.core.job.arrays import Family

SINGLE: dict[str, Any] = {"name": "x"}


def array(size: int) -> dict[str, Any]:
    return {"name": "x", "family": arrays.to_json(Family(ranges=((5, 4 + size, 1),)))}


def test_elements_have_the_ids_from_their_arrays_own() -> None:
    roster = Roster()
    roster.note(3, SINGLE)
    roster.note(4, array(3))
    roster.note(7, SINGLE)
    assert [roster.array_of(job_id) for job_id in range(2, 9)] == [None, None, 4, 4, 4, None, None]
    assert [roster.spec_of(job_id) for job_id in range(2, 9)] == [2, 3, 4, 4, 4, 7, 8]
    assert [roster.ids(spec_id) for spec_id in (3, 4, 7)] == [range(3, 4), range(4, 7), range(7, 8)]
    assert roster.families == {4: Family(ranges=((5, 7, 1),))}


def test_an_array_that_is_gone_has_no_elements() -> None:
    roster = Roster()
    roster.note(4, array(3))
    roster.note(9, array(2))
    roster.note(4, None)
    assert [roster.array_of(job_id) for job_id in (4, 5, 9)] == [None, None, 9]
    assert roster.ids(4) == range(4, 5)
    roster.note(9, SINGLE)
    assert (roster.array_of(10), roster.families) == (None, {})
    roster.note(9, None)
    assert roster.ids(9) == range(9, 10)


def test_an_array_that_is_noted_again_counts_once() -> None:
    roster = Roster()
    roster.note(4, array(3))
    roster.note(4, array(2))
    assert [roster.array_of(job_id) for job_id in (4, 5, 6)] == [4, 4, None]
    roster.note(4, None)
    assert roster.array_of(4) is None


@given(st.lists(st.none() | st.integers(1, 5), max_size=12), st.randoms(use_true_random=False))
def test_whatever_the_order_in_which_they_are_noted(sizes: list[int | None], random: Any) -> None:
    specs: dict[int, dict[str, Any]] = {}
    owner: dict[int, int | None] = {}
    next_id = 1
    for size in sizes:
        specs[next_id] = SINGLE if size is None else array(size)
        owner.update(dict.fromkeys(range(next_id, next_id + (size or 1)), None if size is None else next_id))
        next_id += size or 1
    roster = Roster()
    for spec_id in random.sample(sorted(specs), len(specs)):
        roster.note(spec_id, specs[spec_id])
    assert {job_id: roster.array_of(job_id) for job_id in owner} == owner
    assert roster.array_of(next_id) is None
