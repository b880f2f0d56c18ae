from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.errors import BadUsage, Refused
from gflowd.core.job import array_ids, arrays
from gflowd.core.job.arrays import Axis, Family
from gflowd.core.syntax import job_ids, ranges

SWEEP = arrays.new_family(axes=[Axis(names=("x",), rows=(("a",), ("b",), ("c",)))])
FAMILIES = {42: arrays.new_family(((1, 5, 1), (9, 9, 1))), 50: SWEEP, 60: arrays.new_family(((0, 20, 5),))}
KNOWN = [7, *range(42, 48), *range(50, 53), 55, *range(60, 65)]
MINE = [7, 42, 55]


def plain(word: str) -> tuple[Sequence[int], Sequence[str]]:
    try:
        return job_ids.select(word, KNOWN, MINE), ()
    except Refused as error:
        return (), [str(error).removeprefix("no job ")]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("7", [7]),
        ("42", [42, 43, 44, 45, 46, 47]),
        ("43", [43]),
        ("42-44", [42, 43, 44]),
        ("42-42", [42]),
        ("@~1", [42, 43, 44, 45, 46, 47]),
        ("@", [55]),
        ("42_1", [42]),
        ("42_9", [47]),
        ("42_[1-3]", [42, 43, 44]),
        ("42_[1-5,9]", [42, 43, 44, 45, 46, 47]),
        ("42_[9,1]", [47, 42]),
        ("42_[1-5:2]", [42, 44, 46]),
        ("42_[2-5%50]", [43, 44, 45, 46]),
        ("50", [50, 51, 52]),
        ("50_0,50_2", [50, 52]),
        ("60_[0-20:10]", [60, 62, 64]),
        ("60_10", [62]),
        ("43, 42_[2,3] ,7", [43, 44, 7]),
    ],
)
def test_what_a_list_names(text: str, ids: list[int]) -> None:
    assert array_ids.resolve(text, FAMILIES, plain) == ids


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("42_0", "42_0"),
        ("42_6", "42_6"),
        ("42_[4-12]", "42_[6-8,10-12]"),
        ("42_[1-21:4]", "42_[13-21:4]"),
        ("60_[0-10]", "60_[1-4,6-9]"),
        ("60_[1-3]", "60_[1-3]"),
        ("7_1", "7_1"),
        ("99_[1-5]", "99_[1-5]"),
        ("98,42_0,7,99_1", "98, 42_0, 99_1"),
        ("42_[1-999999999]", "42_[6-8,10-999999999]"),
    ],
)
def test_everything_unknown_is_named(text: str, named: str) -> None:
    with pytest.raises(Refused) as caught:
        array_ids.resolve(text, FAMILIES, plain)
    assert str(caught.value) == f"no job {named}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "42_",
        "42_[",
        "42_[1,2",
        "42_[]",
        "42_[5-1]",
        "42_[1-5:0]",
        "42_x",
        "_1",
        "42_1_2",
        "42_[1]2",
        "[1]",
        "1,",
    ],
)
def test_what_is_no_list_is_wrong_usage(text: str) -> None:
    with pytest.raises(BadUsage):
        array_ids.resolve(text, FAMILIES, plain)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,3", ["1", "3"]),
        ("42_[1,2],7", ["42_[1,2]", "7"]),
        ("42_[1,2", ["42_[1,2"]),
        (",", ["", ""]),
        ("", [""]),
        ("1_[2,3],4_[5,6]", ["1_[2,3]", "4_[5,6]"]),
    ],
)
def test_commas_within_brackets_part_nothing(text: str, words: list[str]) -> None:
    assert array_ids.split(text) == words


def test_elements_are_shown_as_they_are_named() -> None:
    assert array_ids.show(42, ((7, 7, 1),), 50) == "42_7"
    assert array_ids.show(42, ((7, 100_000, 1),), 50) == "42_[7-100000%50]"
    assert array_ids.show(42, ((1, 9, 2), (15, 15, 1))) == "42_[1-9:2,15]"


@given(
    st.sets(st.integers(min_value=0, max_value=40), min_size=1),
    st.lists(st.tuples(st.integers(0, 45), st.integers(0, 45), st.integers(1, 5)), min_size=1, max_size=4),
)
def test_elements_are_found_whatever_the_steps(indices: set[int], raw: list[tuple[int, int, int]]) -> None:
    family = Family(ranges=tuple(ranges.compact(sorted(indices))))
    wanted = tuple(ranges.spanned(first, first + more, step) for first, more, step in raw)
    positions, missing = array_ids.select(family, wanted)
    asked = [index for first, last, step in wanted for index in range(first, last + 1, step)]
    assert [arrays.index_of(family, position) for position in positions] == [i for i in asked if i in indices]
    gaps = [index for first, last, step in missing for index in range(first, last + 1, step)]
    assert gaps == [index for index in asked if index not in indices]


@given(st.sets(st.integers(min_value=0, max_value=40), min_size=1), st.data())
def test_what_is_shown_reads_back(indices: set[int], data: st.DataObject) -> None:
    family = Family(ranges=tuple(ranges.compact(sorted(indices))))
    chosen = sorted(data.draw(st.sets(st.sampled_from(sorted(indices)), min_size=1)))
    text = array_ids.show(100, tuple(ranges.compact(chosen)), data.draw(st.none() | st.integers(1, 9)))
    found = array_ids.resolve(text, {100: family}, plain)
    assert [arrays.index_of(family, job_id - 100) for job_id in found] == chosen


@given(st.text(alphabet="0149,-_[]@~%: x", max_size=12))
def test_any_text_is_a_list_or_refused(text: str) -> None:
    try:
        found = array_ids.resolve(text, FAMILIES, plain)
    except (BadUsage, Refused):
        return
    assert found
    assert set(found) <= set(KNOWN)


@pytest.mark.parametrize(
    ("ids", "limit", "named"),
    [([42, 43, 44, 47], None, "42_[1-3,9]"), ([45], None, "42_4"), ([42, 43], 5, "42_[1-2%5]")],
)
def test_elements_are_named_together(ids: list[int], limit: int | None, named: str) -> None:
    assert array_ids.name(FAMILIES[42], 42, ids, limit) == named


def test_of_many_ranges_the_first_are_named() -> None:
    family = arrays.new_family(((1, 60, 1),))
    assert array_ids.name(family, 100, range(100, 130, 2), 7) == "100_[1,3,5,7,9,11,13,15,17,19,...%7]"
    assert array_ids.name(family, 100, range(100, 122, 2)) == "100_[1,3,5,7,9,11,13,15,17,19,21]"
