"""Sets the machine's clock, by next to nothing: only where that was asked for, and as a user who may."""

from __future__ import annotations

import ctypes
import os
from typing import Any, ClassVar

import pytest

SET_OFFSET, NANOSECONDS = 0x100, 0x2000  # adjtimex(2)


class _Timex(ctypes.Structure):
    """struct timex as far as the offset in `time`, and room for the rest."""

    _fields_: ClassVar[Any] = [
        ("modes", ctypes.c_uint), ("before", ctypes.c_long * 8), ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long), ("after", ctypes.c_long * 32),
    ]  # fmt: skip


def set_forward_and_back() -> None:
    """By a nanosecond, which programs are told of like any other change."""
    if not os.environ.get("GFLOW_TEST_SET_CLOCK"):
        pytest.skip("sets the machine's clock; GFLOW_TEST_SET_CLOCK=1 allows it")
    for seconds, nanoseconds in ((0, 1), (-1, 10**9 - 1)):
        told = _Timex(modes=SET_OFFSET | NANOSECONDS, seconds=seconds, nanoseconds=nanoseconds)
        if ctypes.CDLL(None).adjtimex(ctypes.byref(told)) < 0:
            pytest.skip("only root may set the clock")
