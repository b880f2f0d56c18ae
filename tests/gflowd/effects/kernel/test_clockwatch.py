from __future__ import annotations

import select
from collections.abc import Iterator

import pytest
from support.clock import set_forward_and_back

from gflowd.effects.kernel.clockwatch import ClockWatch


@pytest.fixture
def watch() -> Iterator[ClockWatch]:
    made = ClockWatch()
    yield made
    made.close()


def is_readable(watch: ClockWatch) -> bool:
    return bool(select.select(watch.descriptors, [], [], 0.0)[0])


def test_a_clock_that_nobody_sets_is_quiet(watch: ClockWatch) -> None:
    assert len(watch.descriptors) == 1
    assert not is_readable(watch)
    assert not watch.was_set()


def test_a_clock_that_is_set_is_told_once_each_time(watch: ClockWatch) -> None:
    for _ in range(2):
        set_forward_and_back()
        assert is_readable(watch)
        assert watch.was_set()
        assert not is_readable(watch)
        assert not watch.was_set()


def test_after_its_end_it_is_quiet(watch: ClockWatch) -> None:
    watch.close()
    assert not watch.was_set()
    watch.close()
