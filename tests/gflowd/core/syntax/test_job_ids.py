from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.errors import BadUsage, Refused
from gflowd.core.syntax import job_ids

KNOWN = [1, 2, 3, 5, 7, 10]
MINE = [2, 5, 10]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("5", [5]),
        ("1-3", [1, 2, 3]),
        ("3,1", [3, 1]),
        ("1, 2 ,1-3", [1, 2, 3]),
        ("007", [7]),
        ("@", [10]),
        ("@~0", [10]),
        ("@~1", [5]),
        ("@~2,1", [2, 1]),
    ],
)
def test_what_a_list_names(text: str, ids: list[int]) -> None:
    assert job_ids.select(text, KNOWN, MINE) == ids


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("4", "4"),
        ("0", "0"),
        ("1-5", "4"),
        ("1-8,99", "4, 6, 8, 99"),
        ("11-900000000000", "11-900000000000"),
        ("@~3", "@~3"),
        ("@~3,4,5", "@~3, 4"),
    ],
)
def test_every_unknown_id_is_named(text: str, named: str) -> None:
    with pytest.raises(Refused, match=f"^no job {named}$"):
        job_ids.select(text, KNOWN, MINE)


@pytest.mark.parametrize("text", ["", "x", "1,", "-1", "1-", "3-1", "@~", "@1", "1;2", "1.5", "٣", "9" * 19, "42_3"])
def test_what_is_no_list_is_wrong_usage(text: str) -> None:
    with pytest.raises(BadUsage):
        job_ids.select(text, KNOWN, MINE)


@given(st.sets(st.integers(min_value=1, max_value=200), min_size=1))
def test_what_is_shown_reads_back(ids: set[int]) -> None:
    known = sorted(ids)
    assert job_ids.select(job_ids.show(ids), known, []) == known


def test_runs_are_folded() -> None:
    assert job_ids.show([5, 3, 4, 9, 9]) == "3-5,9"
    assert job_ids.show([]) == ""
