from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.errors import Refused
from gflowd.core.syntax import ranges

INDICES = st.sets(st.integers(min_value=0, max_value=60))


def members(spans: ranges.Ranges) -> list[int]:
    return [index for first, last, step in spans for index in range(first, last + 1, step)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1-10", ((1, 10, 1),)),
        ("0-20:5", ((0, 20, 5),)),
        ("0-19:5", ((0, 15, 5),)),
        ("1, 4 ,9", ((1, 1, 1), (4, 4, 1), (9, 9, 1))),
        ("1-3,7-9:2", ((1, 3, 1), (7, 9, 2))),
        ("5-5", ((5, 5, 1),)),
        ("5-6:9", ((5, 5, 1),)),
        ("007", ((7, 7, 1),)),
        ("999999999", ((999_999_999, 999_999_999, 1),)),
    ],
)
def test_what_ranges_mean(text: str, found: ranges.Ranges) -> None:
    assert ranges.parse(text) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is not an index"),
        ("1-", "'1-' is not an index"),
        ("-1", "'-1' is not an index"),
        ("1,,2", "'' is not an index"),
        ("1:2", "'1:2' is not an index"),
        ("a" * 100, f"'{'a' * 40}...' is not an index"),
        ("٣", "is not an index"),
        ("1" * 19, "is not an index"),
        ("5-1", "'5-1' runs backwards; write the smaller index first"),
        ("1-5:0", "'1-5:0' has a step of 0; the least is 1"),
        ("1-1000000000", "index 1000000000 is too large; the limit is 999999999"),
    ],
)
def test_what_is_no_range_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(Refused) as caught:
        ranges.parse(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("9,1,4", "1,4,9"),
        ("7-9,1-3", "1-3,7-9"),
        ("0-10:5,1", "0-1,5,10"),
        ("0-8:2,1-9:2", "0-9"),
        ("0-8:2,1-9:4,20", "0-2,4-6,8-9,20"),
        ("0-100:10,5", "0-10:5,20-100:10"),
    ],
)
def test_indices_are_brought_into_ascending_order(text: str, shown: str) -> None:
    assert ranges.show(ranges.ascending(ranges.parse(text))) == shown


@pytest.mark.parametrize(("text", "index"), [("1,1", 1), ("1-5,3", 3), ("0-10:5,1-10:3,20", 10), ("4-6,6-8", 6)])
def test_an_index_given_twice_is_refused(text: str, index: int) -> None:
    with pytest.raises(Refused, match=f"^index {index} is given twice$"):
        ranges.ascending(ranges.parse(text))


def test_ranges_that_overlap_can_be_merged() -> None:
    assert ranges.show(ranges.merged([(4, 4, 1), (1, 3, 1), (2, 2, 1), (3, 6, 1)])) == "1-6"
    assert ranges.show(ranges.merged([(7, 9, 2), (0, 5, 3)])) == "0-3:3,7-9:2"


@given(st.lists(st.tuples(*[st.integers(min_value=0, max_value=40)] * 2, st.integers(min_value=1, max_value=5))))
def test_ascending_ranges_have_the_same_indices_and_spans_apart(raw: list[tuple[int, int, int]]) -> None:
    given_ranges = tuple(ranges.spanned(first, first + more, step) for first, more, step in raw)
    wanted = members(given_ranges)
    try:
        found = ranges.ascending(given_ranges)
    except Refused:
        assert len(set(wanted)) < len(wanted)
        return
    assert members(found) == sorted(set(wanted)) == sorted(wanted)
    assert sum(map(ranges.length, found)) == len(wanted)


@pytest.mark.parametrize(
    ("indices", "shown"),
    [
        ([], ""),
        ([3], "3"),
        ([1, 2], "1-2"),
        ([1, 4], "1,4"),
        ([1, 3, 5, 7, 9, 15], "1-9:2,15"),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15], "1-10,15"),
        ([1, 3, 4, 5], "1,3-5"),
        ([1, 2, 4], "1-2,4"),
        ([1, 5, 7], "1,5,7"),
    ],
)
def test_indices_are_folded(indices: list[int], shown: str) -> None:
    assert ranges.fold(indices) == shown


@given(INDICES)
def test_what_is_folded_reads_back(indices: set[int]) -> None:
    folded = tuple(ranges.compact(sorted(indices)))
    assert members(folded) == sorted(indices)
    assert all(step == 1 or ranges.length((first, last, step)) > 2 for first, last, step in folded)
    if indices:
        assert ranges.parse(ranges.show(folded)) == folded


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 9))
def test_a_range_ends_with_an_index_that_it_reaches(first: int, more: int, step: int) -> None:
    span = ranges.spanned(first, first + more, step)
    assert members((span,)) == list(range(first, first + more + 1, step))
