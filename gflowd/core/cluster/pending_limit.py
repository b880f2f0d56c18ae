"""How many jobs may wait on a cluster at a time, `max_pending` of its configuration: the rest wait here."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gflowd.core.job.model import Starting

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from gflowd.core.cluster.cluster_settings import Cluster
    from gflowd.core.job.model import Job


def room(clusters: Mapping[str, Cluster], live: Iterable[Job], unreachable: Container[str]) -> dict[str, int]:
    """How many more jobs may be handed over to each cluster that answers, by its name. Below 1: none."""
    waiting = Counter(job.phase.run.cluster for job in live if isinstance(job.phase, Starting))
    return {name: left(each, waiting[name]) for name, each in clusters.items() if name not in unreachable}


def left(cluster: Cluster, waiting: int) -> int:
    """How many more, while so many `waiting` have been handed over and have not begun there."""
    return cluster.max_pending - waiting
