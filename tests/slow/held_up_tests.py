"""What pytest does while every program is held up: how each test is held up does not depend on those before it, so that
it can be run again by itself; and tests are left out that measure what being held up changes.
"""

from __future__ import annotations

import ctypes
import os

import pytest

from slow.hold_up import VARIABLE

# By name, of a file or a test: the modes in which it is left out, and why.
LEFT_OUT = {
    "tests/system/test_counts.py::test_a_plain_submission_makes_few_system_calls": (
        ("io",),
        "counts system calls, of which each read and write makes one more",
    ),
    "tests/gflowctl/submit/test_work_tree.py": (("exec",), "calls git very many times"),
}


def is_wanted() -> bool:
    """Whether this process was started to be held up."""
    return VARIABLE in os.environ


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    ctypes.CDLL(None).hold_up_test(item.nodeid.encode())
    for name in (item.nodeid.partition("[")[0], item.nodeid.partition("::")[0]):
        modes, reason = LEFT_OUT.get(name, ((), ""))
        if os.environ[VARIABLE] in modes:
            pytest.skip(f"held up: {reason}")
