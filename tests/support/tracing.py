"""Traces the core as it is imported and in the tests that are to cover it: all else takes half as long again so."""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages
from typing import TYPE_CHECKING

import pytest

import gflowd.core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from coverage import Coverage


def current() -> Coverage | None:
    """What traces this process, if anything does."""
    try:
        from coverage import Coverage
    except ImportError:
        return None
    return Coverage.current()


class Tracing:
    """A plugin. `is_wanted` says of a test whether it is traced."""

    def __init__(self, is_wanted: Callable[[pytest.Item], bool]) -> None:
        self._is_wanted = is_wanted
        self._coverage: Coverage | None = None
        self._is_on = False

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionstart(self, session: pytest.Session) -> Iterator[None]:
        yield
        self._coverage = current()
        if self._coverage is None:
            return
        if not hasattr(session.config, "workerinput"):  # whoever deals out the tests imports it for all
            for module in walk_packages(gflowd.core.__path__, "gflowd.core."):
                import_module(module.name)
        while (outer := current()) is not None:  # a worker has two: the one that counts, and one begun before it
            outer.stop()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[object]:
        if self._coverage is not None:
            self._turn(is_on=self._is_wanted(item))
        return (yield)

    def _turn(self, *, is_on: bool) -> None:
        assert self._coverage is not None
        if is_on != self._is_on:
            (self._coverage.start if is_on else self._coverage.stop)()
            self._is_on = is_on
