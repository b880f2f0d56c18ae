from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.errors import Refused
from gflowd.core.syntax import filename_patterns

JOB = {"job_id": 42, "name": "train/big", "user": "ada"}


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("out.txt", "out.txt"),
        ("%j.out", "42.out"),
        ("slurm-%A_%a.out", "slurm-42_0.out"),
        ("%u-%x", "ada-train_big"),
        ("100%%", "100%"),
        ("%%j", "%j"),
        ("%4j-%03a.%1j-%10A.%b", "0042-000.42-0000000042.0"),
    ],
)
def test_what_a_pattern_expands_to(pattern: str, name: str) -> None:
    filename_patterns.check(pattern)
    assert filename_patterns.expand(pattern, **JOB) == name


@pytest.mark.parametrize(("name", "file"), [("..", "a/__/f"), (".", "a/_/f"), (".x", "a/.x/f"), ("../x", "a/.._x/f")])
def test_the_name_of_a_job_leads_to_no_other_directory(name: str, file: str) -> None:
    assert filename_patterns.expand("a/%x/f", job_id=1, name=name, user="ada") == file


def test_an_element_knows_its_array() -> None:
    assert filename_patterns.expand("%A_%a of %j", **JOB, array_id=40, index=3) == "40_3 of 42"
    assert filename_patterns.expand("%3A_%3a %b", **JOB, array_id=40, index=13) == "040_013 3"


@pytest.mark.parametrize("pattern", ["%q", "50%", "%", "a%\nb", "", "logs/", "%3x", "%100j"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(Refused):
        filename_patterns.check(pattern)


def test_a_percent_sign_in_a_literal_is_one() -> None:
    assert filename_patterns.literal("50%/%j.log") == "50%%/%%j.log"


@given(st.text())
def test_a_literal_expands_to_itself(text: str) -> None:
    assert filename_patterns.expand(filename_patterns.literal(text), **JOB) == text


@pytest.mark.parametrize(
    ("pattern", "elements", "other_jobs"),
    [("a.txt", False, False), ("%x-%A.txt", False, False), ("%a.txt", True, False), ("%j", True, True),
     ("%%a", False, False),  ("%%j.%a", True, False), ("%%%j", True, True),
     ("%3a", True, False), ("%3j", True, True), ("%b", False, False)],
)  # fmt: skip
def test_what_is_of_one_job_alone(pattern: str, elements: bool, other_jobs: bool) -> None:
    assert filename_patterns.is_of_one_job(pattern, elements=True) is elements
    assert filename_patterns.is_of_one_job(pattern, elements=False) is other_jobs


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("/a/b.txt", ("/a/b.txt", "")),
        ("/a%%b/c", ("/a%b/c", "")),
        ("/a/%j.txt", ("/a", "%j.txt")),
        ("/a/x%3a/b/%j", ("/a", "x%3a/b/%j")),
        ("/%u/b", ("/", "%u/b")),
    ],
)
def test_the_part_of_a_path_that_is_known_before_the_job(pattern: str, found: tuple[str, str]) -> None:
    assert filename_patterns.known(pattern) == found
