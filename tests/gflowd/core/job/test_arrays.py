from __future__ import annotations

import json
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.errors import Refused
from gflowd.core.job import arrays
from gflowd.core.job.arrays import Axis, Family
from gflowd.core.syntax import ranges

LR = Axis(names=("lr",), rows=(("0.1",), ("0.01",), ("0.001",)))
DATA = Axis(names=("data", "classes"), rows=(("cifar", "10"), ("imagenet", "1000")))


def array(text: str) -> Family:
    return arrays.new_family(*arrays.parse_array(text)[:1])


ARRAYS = st.sets(st.integers(min_value=0, max_value=60), min_size=1).map(
    lambda indices: arrays.new_family(tuple(ranges.compact(sorted(indices))))
)
SWEEPS = st.lists(st.integers(min_value=1, max_value=4), min_size=1, max_size=4).map(
    lambda sizes: arrays.new_family(
        axes=[
            Axis(names=(f"p{place}", f"q{place}"), rows=tuple((f"{row}", f"-{row}") for row in range(size)))
            for place, size in enumerate(sizes)
        ]
    )
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1-100000%8", (((1, 100_000, 1),), 8)),
        ("0-20:5", (((0, 20, 5),), None)),
        ("9,1-3 % 02", (((1, 3, 1), (9, 9, 1)), 2)),
        ("1-1000000", (((1, 1_000_000, 1),), None)),
    ],
)
def test_what_an_array_option_means(text: str, found: tuple[ranges.Ranges, int | None]) -> None:
    assert arrays.parse_array(text) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("%0", "'0' after % must be a number"),
        ("%5", "'' is not an index"),
        ("1-5%", "'' after % must be a number"),
        ("1-5%-1", "'-1' after % must be a number"),
        ("1-5%0", "'0' after % must be a number"),
        ("1-5%2%3", "'2%3' after % must be a number"),
        ("0-1000000", "1000001 elements are too many for one array or sweep; the limit is 1000000"),
        ("1-5,5", "index 5 is given twice"),
        ("1-", "'1-' is not an index"),
    ],
)
def test_a_wrong_array_is_refused(text: str, said: str) -> None:
    with pytest.raises(Refused) as caught:
        arrays.parse_array(text)
    assert said in str(caught.value)


def test_a_large_array_costs_no_more_than_a_small_one() -> None:
    family = array("1-1000000")
    assert len(json.dumps(arrays.to_json(family))) < 40
    assert arrays.index_of(family, 999_999) == 1_000_000


def test_an_array_does_not_go_with_parameters() -> None:
    with pytest.raises(Refused, match="either an array or parameters"):
        arrays.new_family(((1, 2, 1),), [LR])


def test_a_parameter_is_given_once() -> None:
    with pytest.raises(Refused, match="parameter lr is given twice"):
        arrays.new_family(axes=[LR, DATA, LR])


@pytest.mark.parametrize(("concurrent", "failures"), [(0, None), (None, 0), (-1, 3)])
def test_a_limit_of_nothing_is_refused(concurrent: int | None, failures: int | None) -> None:
    with pytest.raises(Refused, match="the minimum is 1"):
        arrays.new_family(((1, 2, 1),), max_concurrent=concurrent, max_failures=failures)


def test_a_product_that_is_too_large_is_refused() -> None:
    axes = [Axis(names=(name,), rows=(("x",),) * 1001) for name in "ab"]
    with pytest.raises(Refused, match="1002001 elements are too many"):
        arrays.new_family(axes=axes)


def test_the_last_axis_of_a_sweep_varies_fastest() -> None:
    family = arrays.new_family(axes=[LR, DATA], max_concurrent=2, max_failures=3)
    assert arrays.size(family) == 6
    assert arrays.parameters(family, 0) == {"lr": "0.1", "data": "cifar", "classes": "10"}
    assert arrays.parameters(family, 1) == {"lr": "0.1", "data": "imagenet", "classes": "1000"}
    assert list(arrays.parameters(family, 5)) == ["lr", "data", "classes"]
    assert arrays.parameters(family, 5)["lr"] == "0.001"


def test_an_element_of_an_array_has_no_parameters() -> None:
    assert arrays.parameters(array("5,7"), 1) == {}


@pytest.mark.parametrize("position", [-1, 2])
def test_there_is_nothing_beyond_the_ends(position: int) -> None:
    family = array("5,7")
    with pytest.raises(IndexError):
        arrays.index_of(family, position)
    with pytest.raises(IndexError):
        arrays.parameters(family, position)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1-10", (10, 1, 10, 1)),
        ("0-20:5", (5, 0, 20, 5)),
        ("0-5:5", (2, 0, 5, 5)),
        ("4,1,9", (3, 1, 9, 1)),
        ("3", (1, 3, 3, 1)),
    ],
)
def test_what_a_script_for_slurm_is_told(text: str, numbers: tuple[int, ...]) -> None:
    family = array(text)
    told = arrays.size(family), arrays.least(family), arrays.greatest(family), arrays.stride(family)
    assert told == numbers


def test_the_indices_of_a_sweep_are_its_positions() -> None:
    family = arrays.new_family(axes=[LR])
    assert [arrays.index_of(family, position) for position in range(3)] == [0, 1, 2]
    assert (arrays.least(family), arrays.greatest(family), arrays.stride(family)) == (0, 2, 1)


@given(st.one_of(ARRAYS, SWEEPS))
def test_positions_and_indices_belong_to_each_other(family: Family) -> None:
    count = arrays.size(family)
    indices = [arrays.index_of(family, position) for position in range(count)]
    assert indices == sorted(set(indices))
    assert [arrays.position_of(family, index) for index in indices] == list(range(count))
    others = set(range(-1, indices[-1] + 2)) - set(indices)
    assert all(arrays.position_of(family, index) is None for index in others)


@given(st.one_of(ARRAYS, SWEEPS), st.integers(min_value=0, max_value=70), st.integers(min_value=0, max_value=70))
def test_a_stretch_of_positions_is_given_as_ranges(family: Family, start: int, stop: int) -> None:
    indices = [arrays.index_of(family, position) for position in range(arrays.size(family))]
    found = [
        index for first, last, step in arrays.within(family, start, stop) for index in range(first, last + 1, step)
    ]
    assert found == indices[start:stop]


@given(SWEEPS)
def test_a_sweep_is_the_product_of_its_axes(family: Family) -> None:
    rows = product(*(axis.rows for axis in family.axes))
    expected = [[value for row in choice for value in row] for choice in rows]
    assert [list(arrays.parameters(family, position).values()) for position in range(arrays.size(family))] == expected


@given(st.one_of(ARRAYS, SWEEPS), st.none() | st.integers(1, 9), st.none() | st.integers(1, 9))
def test_the_snapshot_gives_back_what_it_was_given(
    family: Family, concurrent: int | None, failures: int | None
) -> None:
    whole = family.replace(max_concurrent=concurrent, max_failures=failures)
    assert arrays.from_json(json.loads(json.dumps(arrays.to_json(whole)))) == whole


def test_a_family_with_everything_comes_back() -> None:
    axes = [Axis(names=("lr", "s"), rows=(("1", "a"), ("2", "b")))]
    sweep = arrays.overridden(arrays.new_family(axes=axes, max_concurrent=2, max_failures=1), [1], {"lr": "x"})
    for family in (sweep, Family(ranges=((0, 9, 3),), max_failures=4)):
        assert arrays.from_json(json.loads(json.dumps(arrays.to_json(family)))) == family
