"""GPUs counted in a process of its own."""

from __future__ import annotations

import faulthandler
import os
import time
from typing import NoReturn

import pytest

from gflowd.effects.gpu import count, nvml, pci


def test_what_is_counted_comes_back() -> None:
    assert count.answered(lambda: 12) == 12


def test_a_driver_that_fails_aborts_or_hangs_tells_nothing() -> None:
    assert count.answered(lambda: 1 // 0) is None
    assert count.answered(_abort) is None
    assert count.answered(lambda: time.sleep(60), patience=0.05) is None  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(("hardware", "counted"), [(False, 0), (True, None)])
def test_without_a_driver_there_are_none_unless_there_is_hardware(
    monkeypatch: pytest.MonkeyPatch, *, hardware: bool, counted: int | None
) -> None:
    monkeypatch.setattr(nvml, "LIBRARY", "libnvidia-ml.so.0")
    monkeypatch.setattr(pci, "has_nvidia", lambda: hardware)
    assert count.real() == counted


def _abort() -> NoReturn:
    faulthandler.disable()  # pytest's would print where we are
    os.abort()
