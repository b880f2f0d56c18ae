"""Whatever people write, each parser answers with a value or with one line that says what is wrong."""

from __future__ import annotations

import fuzz_targets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import depth


@pytest.mark.parametrize("name", fuzz_targets.TARGETS)
@settings(max_examples=depth.number(150, 20), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_nothing_but_a_refusal_comes_of_it(name: str, data: st.DataObject) -> None:
    words = st.sampled_from(fuzz_targets.TARGETS[name][1]).map(str.encode)
    anything = st.one_of(
        st.text(max_size=20).map(lambda text: text.encode(errors="surrogatepass")), st.binary(max_size=20)
    )
    parts = st.lists(st.one_of(words, words, anything), max_size=12)
    fuzz_targets.run(name, b"".join(data.draw(parts)))


LONG = [b"9" * 5000, b"[" * 5000, b"{" * 100_000, b"(" * 5000, b"a=" + b"[" * 2000, b"1," * 5000, b"\0", b"-" * 999]


@pytest.mark.parametrize("name", fuzz_targets.TARGETS)
@pytest.mark.parametrize("data", LONG, ids=lambda data: f"{data[:3].decode()} {len(data)}")
def test_nor_of_what_is_too_long_or_too_deep(name: str, data: bytes) -> None:
    fuzz_targets.run(name, data)
    for word in fuzz_targets.TARGETS[name][1]:
        fuzz_targets.run(name, word.encode() + data)
        fuzz_targets.run(name, word.encode() * 300)
