"""Tests with several users, which need root."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import shared_machine

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if why := shared_machine.obstacle():
        for item in items:
            if "shared" in item.path.parts:
                item.add_marker(pytest.mark.skip(reason=f"no shared machine: {why}"))


@pytest.fixture(scope="module")
def machine() -> Iterator[shared_machine.SharedMachine]:
    """One for the tests of a file, whose daemon does not run yet."""
    with shared_machine.new_shared_machine() as found:
        yield found
