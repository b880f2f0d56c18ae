"""Tests with a real Slurm of three nodes, which needs root and Slurm's programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import obstacles, slurm_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    why = slurm_cluster.obstacle()
    obstacles.skip_below(__file__, items, why and f"no Slurm: {why}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[slurm_cluster.SlurmCluster]:
    """One for the tests of a file."""
    with slurm_cluster.new_cluster() as found:
        yield found
