"""GPUs counted in a process of its own."""

from __future__ import annotations

import os
import time

from gflowd.effects.gpu import count


def test_what_is_counted_comes_back() -> None:
    assert count.answered(lambda: 12) == 12


def test_a_driver_that_fails_aborts_or_hangs_tells_nothing() -> None:
    assert count.answered(lambda: 1 // 0) is None
    assert count.answered(os.abort) is None
    assert count.answered(lambda: time.sleep(60), patience=0.05) is None  # type: ignore[arg-type, return-value]


def test_a_machine_without_a_driver_has_none() -> None:
    assert count.real() in (0, None)
