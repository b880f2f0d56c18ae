from __future__ import annotations

import pytest

from gflowd.core.execution import resource_limits


def test_what_is_not_named_is_unlimited() -> None:
    assert dict(resource_limits.parse("n1024 c0")) == dict.fromkeys("dflmstuv", "unlimited") | {"n": "1024", "c": "0"}
    assert {value for _, value in resource_limits.parse("")} == {"unlimited"}


@pytest.mark.parametrize("word", ["n", "n-1", "x5", "nn5", "n5;reboot", "n$(x)", "5", "n" + "9" * 19, "n\u0661"])
def test_nonsense_is_passed_over(word: str) -> None:
    assert resource_limits.parse(f"{word} s8") == resource_limits.parse("s8")
