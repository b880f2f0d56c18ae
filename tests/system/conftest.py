"""The fixtures of the system tests, and which of them are run when nobody asks for more."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

import pytest
from support import depth
from support.machine import TMUX, Machine, new_machine

if TYPE_CHECKING:
    from collections.abc import Iterator

EXECUTORS = [
    pytest.param("tmux", marks=pytest.mark.skipif(TMUX is None, reason="tmux is not installed")),
    "process",
]


# What both executors do alike is tried in make test with one of them, by turns; these with both.
WITH_BOTH = {"test_daemon_down", "test_main_job", "test_stopping"}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: takes half a minute or more; run with -m soak")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("soak") or _is_left_to_the_other(config, item)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _is_left_to_the_other(config: pytest.Config, item: pytest.Item) -> bool:
    """Whether it is a test of an executor whose turn it is not: chance, but always the same, says whose it is."""
    params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    executor = params.get("own") or params.get("shared")
    is_named = any("::" in word for word in config.args)
    if depth.IS_FULL or TMUX is None or is_named or executor is None or item.path.stem in WITH_BOTH:
        return False
    return executor != ("tmux", "process")[crc32(item.nodeid.partition("[")[0].encode()) % 2]


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine whose daemon does not run yet."""
    with new_machine() as found:
        yield found


@pytest.fixture(params=EXECUTORS)
def own(request: pytest.FixtureRequest, machine: Machine) -> Machine:
    """A daemon for this test alone, to be killed and restarted; once with tmux and once with plain processes."""
    machine.write_config(executor={"type": request.param})
    machine.start()
    return machine


@pytest.fixture
def own_default(machine: Machine) -> Machine:
    """A daemon for this test alone, as it comes."""
    machine.start()
    return machine


@pytest.fixture(scope="module", params=EXECUTORS)
def shared(request: pytest.FixtureRequest) -> Iterator[Machine]:
    with new_machine() as found:
        found.write_config(executor={"type": request.param})
        found.start()
        yield found


@pytest.fixture(scope="module")
def shared_default() -> Iterator[Machine]:
    with new_machine() as found:
        found.start()
        yield found


@pytest.fixture
def either(shared: Machine) -> Iterator[Machine]:
    """A running daemon, once with tmux and once with plain processes; other tests use it too."""
    with shared.visit():
        yield shared


@pytest.fixture
def up(shared_default: Machine) -> Iterator[Machine]:
    """A running daemon, as it comes; other tests use it too."""
    with shared_default.visit():
        yield shared_default
