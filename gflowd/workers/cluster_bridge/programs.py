"""The words with which a cluster's programs are called, with what is put before them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowd.core.cluster import programs
from gflowd.effects.cluster.call import Call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowd.core.cluster.cluster_settings import Cluster


class Programs:
    """Those of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def call(self, words: Sequence[str], mono: float) -> Call:
        """Starts one."""
        return Call(programs.words(self._cluster, words), mono)
