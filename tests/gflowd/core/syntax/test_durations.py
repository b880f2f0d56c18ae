import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.errors import Refused
from gflowd.core.syntax import durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1d", 86400),
        ("2w", 2 * 604800),
        ("1.5h", 5400),
        ("0s", 0),
        ("1H30M", 5400),
        (" 5 ", 300),
        ("5", 300),
        ("0", 0),
        ("5:30", 330),
        ("90:00", 5400),
        ("1:02:03", 3723),
        ("1-2", 93600),
        ("1-02:03", 86400 + 7200 + 180),
        ("1-02:03:04", 86400 + 7200 + 184),
        ("36500d", durations.LONGEST),
    ],
)
def test_the_forms_of_the_manual(text: str, seconds: float) -> None:
    assert durations.parse(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "x", "1x", "-5", "-5m", "+5", "1h-2", "1.5", ":", "1:", ":1", "1:2:3:4", "1--2", "1-", "-1",
        "1-2:3:4:5",
        "1e3s", "infs", "inf", "nan", "1h 30m", "1,5h", "1h30", "s", "٣m", "\uff11", "9" * 400, "9" * 5000,
        "9" * 5000 + "s", "1-" + "9" * 5000, "1:" + "9" * 5000, "36501d", "3650000d", "\0", "1\n2", "1m\n\n2m",
    ],
)  # fmt: skip
def test_nonsense_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(Refused) as refusal:
        durations.parse(text)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 200


@given(st.text())
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        seconds = durations.parse(text)
    except Refused:
        return
    assert 0 <= seconds <= durations.LONGEST


@given(st.text(alphabet="0123456789.:-smhdw", max_size=30))
def test_anything_that_looks_like_a_duration_is_one_or_refused(text: str) -> None:
    test_any_text_is_a_duration_or_refused.hypothesis.inner_test(text)  # type: ignore[attr-defined]


@given(st.integers(0, durations.LONGEST))
def test_what_the_clock_shows_is_read_back(seconds: int) -> None:
    assert durations.parse(durations.clock(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0:00"),
        (7.9, "0:07"),
        (-3, "0:00"),
        (750, "12:30"),
        (3600, "1:00:00"),
        (10800, "3:00:00"),
        (2 * 86400 + 3600, "2-01:00:00"),
    ],
)
def test_the_clock_shows_elapsed_time_as_slurm_does(seconds: float, shown: str) -> None:
    assert durations.clock(seconds) == shown


@given(st.lists(st.tuples(st.integers(0, 99), st.sampled_from("smhdw")), min_size=1, max_size=4))
def test_units_add_up(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in parts)
    assert math.isclose(durations.parse(text), sum(number * durations.UNITS[unit] for number, unit in parts))
