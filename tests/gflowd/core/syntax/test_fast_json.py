from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.syntax import fast_json

TEXTS = st.text(st.characters(exclude_categories=("Cs",)))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


def answer(loads: Any, data: bytes | str) -> object:
    try:
        return repr(loads(data))
    except (ValueError, RecursionError) as error:
        return type(error)


@given(VALUES)
def test_what_is_written_is_what_json_writes_and_reads_back(value: Any) -> None:
    written = fast_json.dumps(value)
    assert written == json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    assert fast_json.loads(written) == value
    assert fast_json.loads(written.decode()) == value


@given(VALUES, st.binary(max_size=3), st.integers(0, 40))
def test_a_document_is_read_or_refused_as_json_does_it(value: Any, noise: bytes, at: int) -> None:
    whole = json.dumps(value).encode()
    for data in (whole, whole[:at], whole[:at] + noise + whole[at:], b" \n" + whole + b"\t", b"\xef\xbb\xbf" + whole):
        assert answer(fast_json.loads, data) == answer(json.loads, data)


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused_as_json_does_it(text: str) -> None:
    assert answer(fast_json.loads, text) == answer(json.loads, text)


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "[Infinity]", "1e999", "9" * 5000, "[" * 100_000])
def test_odd_numbers_and_depths_are_what_they_are_to_json(text: str) -> None:
    assert answer(fast_json.loads, text) == answer(json.loads, text)


@pytest.mark.parametrize("value", [[math.nan], {"a": math.inf}, math.nan])
def test_a_number_that_json_cannot_hold_is_not_written(value: object) -> None:
    with pytest.raises(ValueError, match="Out of range float values"):
        fast_json.dumps(value)


def test_what_is_no_json_is_not_written() -> None:
    with pytest.raises(TypeError):
        fast_json.dumps([object()])
    with pytest.raises(UnicodeEncodeError):
        fast_json.dumps(["\udc80"])


@pytest.mark.parametrize("text", ["{} ", " [1]", "1 2", "", '{"a"', "\ufeff1"])
def test_what_the_scanner_does_not_read_to_its_end_is_left_to_json(text: str) -> None:
    assert answer(fast_json.loads, text) == answer(json.loads, text)
    assert answer(fast_json.loads, text.encode()) == answer(json.loads, text.encode())
