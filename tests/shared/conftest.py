"""Tests with several users, which need root."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import obstacles, shared_machine

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    why = shared_machine.obstacle()
    obstacles.skip_below(__file__, items, why and f"no shared machine: {why}")


@pytest.fixture(scope="module")
def machine() -> Iterator[shared_machine.SharedMachine]:
    """One for the tests of a file, whose daemon does not run yet."""
    with shared_machine.new_shared_machine() as found:
        yield found
