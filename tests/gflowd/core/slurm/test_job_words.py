"""Jobs as Slurm's users name them, and the indices of arrays as Slurm shows them (seen of Slurm 22.05)."""

from __future__ import annotations

import pytest

from gflowd.core.errors import Refused
from gflowd.core.slurm import job_words
from gflowd.core.slurm.job_words import Named


def test_jobs_elements_and_steps_are_named() -> None:
    assert job_words.parse("12, 4_3,7_[1-2,5%2],,2.batch,3+1,4_0.0") == [
        Named(12), Named(4, ((3, 3, 1),)), Named(7, ((1, 2, 1), (5, 5, 1))), Named(2, step="batch"), Named(3),
        Named(4, ((0, 0, 1),), "0"),
    ]  # fmt: skip
    for word in ("abc", "4_", "4_[3-1]", "-1"):
        with pytest.raises(Refused, match="Invalid job id: "):
            job_words.parse(f"1,{word}")


def test_indices_are_shown_as_slurm_shows_them() -> None:
    shown = {
        "1,3": [1, 3], "1,3,5,7,9,11": [1, 3, 5, 7, 9, 11], "1-13:2": [*range(1, 14, 2)], "1-2,5": [1, 2, 5],
        "1,3,5-7": [1, 3, 5, 6, 7], "7": [7], "1-9": [*range(1, 10)], "1,3,5,7,9,11,14": [1, 3, 5, 7, 9, 11, 14],
    }  # fmt: skip
    assert {job_words.indices(found): found for found in shown.values()} == shown


def test_long_lists_of_indices_are_cut() -> None:
    cut = ["1,3,5-7", "", ".", "..", "...", "1...", "1,...", "1,3...", "1,3,...", "1,3,5...", "1,3,5-7"]
    assert [job_words.cut("1,3,5-7", length) for length in range(11)] == cut
