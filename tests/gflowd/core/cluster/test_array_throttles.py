"""The batches of a limited array on a cluster have shares of its limit, which the cluster is told where they change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.cluster import array_throttles


@pytest.mark.parametrize(
    ("limit", "sizes", "wanted"),
    [
        (4, [1000], [4]),
        (4, [3, 1000], [3, 1]),
        (4, [1, 2, 1000, 1000], [1, 2, 1, 0]),
        (0, [5], [0]),
        (None, [5, 6], [None, None]),
        (4, [], []),
    ],
)
def test_those_that_were_there_first_have_what_they_can_use(
    limit: int | None, sizes: list[int], wanted: list[int | None]
) -> None:
    assert array_throttles.shares(limit, sizes) == wanted


@given(st.integers(0, 20), st.lists(st.integers(1, 10)))
def test_shares_never_exceed_the_limit_and_leave_none_of_it_unused(limit: int, sizes: list[int]) -> None:
    found = array_throttles.shares(limit, sizes)
    assert sum(share or 0 for share in found) == min(limit, sum(sizes))
    assert all(share is not None and 0 <= share <= size for share, size in zip(found, sizes, strict=True))


@pytest.mark.parametrize(
    ("size", "told", "share", "kept"),
    [
        (5, 3, 3, True), (2, 3, 2, True), (5, 3, 4, False), (5, None, 3, False), (3, None, 3, True),
        (5, None, None, True), (5, 3, None, False), (5, 0, 0, True), (5, 0, 2, False), (5, 2, 0, False),
    ],
)  # fmt: skip
def test_a_batch_is_told_again_only_if_it_would_keep_to_something_else(
    size: int, told: int | None, share: int | None, kept: bool
) -> None:
    assert array_throttles.is_kept(size, told, share) == kept


@pytest.mark.parametrize(
    ("told", "share", "alone", "wanted"),
    [
        (2, 3, False, ["update JobId=9 ArrayTaskThrottle=3"]),
        (2, None, False, ["update JobId=9 ArrayTaskThrottle=0"]),
        (2, 0, False, ["hold 9"]),
        (0, 3, False, ["update JobId=9 ArrayTaskThrottle=3", "release 9"]),
        (0, None, False, ["update JobId=9 ArrayTaskThrottle=0", "release 9"]),
        (0, None, True, ["release 9"]),
        (None, 0, True, ["hold 9"]),
    ],
)
def test_scontrol_is_called_for_it(told: int | None, share: int | None, alone: bool, wanted: list[str]) -> None:
    found = array_throttles.orders("9", told, share, alone=alone)
    assert [" ".join(words) for words in found] == [f"scontrol {each}" for each in wanted]


@pytest.mark.parametrize(
    ("status", "complaint", "done"),
    [
        (0, "", True),
        (1, "1_0-1: Job has already finished\n1_2-9: No error", True),
        (1, "1_0-1: Job has already finished\n1_2-9: Access/permission denied", False),
        (1, "slurm_update error: Unable to contact slurm controller (connect failure)", False),
        (None, "", False),
    ],
)
def test_an_order_is_carried_out_though_a_part_of_the_batch_has_ended(
    status: int | None, complaint: str, done: bool
) -> None:
    assert array_throttles.is_told(status, complaint) == done
