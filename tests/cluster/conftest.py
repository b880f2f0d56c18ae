"""Tests with a real Slurm of three nodes, which needs root and Slurm's programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import slurm_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if why := slurm_cluster.obstacle():
        for item in items:
            if "cluster" in item.path.parts:
                item.add_marker(pytest.mark.skip(reason=f"no Slurm: {why}"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[slurm_cluster.SlurmCluster]:
    """One for the tests of a file."""
    with slurm_cluster.new_cluster() as found:
        yield found
