from __future__ import annotations

import pytest

from gflowd.core.syntax.plurals import count, noun


@pytest.mark.parametrize(("number", "said"), [(0, "no GPU"), (1, "1 GPU"), (2, "2 GPUs"), (100, "100 GPUs")])
def test_a_count_is_said_with_its_noun(number: int, said: str) -> None:
    assert count(number, "GPU") == said


def test_a_noun_stands_in_the_number_of_what_it_names() -> None:
    assert [noun(number, "job") for number in range(3)] == ["jobs", "job", "jobs"]
    assert [noun(number, "is", "are") for number in range(3)] == ["are", "is", "are"]
    assert [count(number, "directory", "directories") for number in (1, 2)] == ["1 directory", "2 directories"]
