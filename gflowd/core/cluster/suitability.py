"""What fits which cluster, and which jobs for any cluster go to one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gflowd.core.cluster.cluster_settings import Cluster
    from gflowd.core.cluster.remote_observations import Nodes, Offer
    from gflowd.core.job.model import Spec


def gpu_kind(spec: Spec, offer: Offer | None) -> str | None:
    """The cluster's name for the type of GPU that a job asks for: the first that has the word in it, else the word."""
    if spec.gpu_type is None:
        return None
    kinds = (kind for nodes in (() if offer is None else offer.nodes) for kind, _ in nodes.gpus if kind is not None)
    return next((kind for kind in kinds if spec.gpu_type.lower() in kind.lower()), spec.gpu_type)


def why_not(spec: Spec, offer: Offer | None) -> str | None:
    """Why a job can never run on a cluster, as far as it is known what that has; None if it can."""
    if spec.shared or spec.gpu_memory_mb is not None:
        return "a cluster shares no GPUs by their memory"
    if spec.relay is not None:
        return "a job of gflowctl run needs this machine"
    if offer is None or not offer.nodes or any(_is_room(spec, each) for each in offer.nodes):
        return None
    return "no node of the cluster has as much"


def _is_room(spec: Spec, nodes: Nodes) -> bool:
    wanted = (spec.gpu_type or "").lower()
    gpus = max((count for kind, count in nodes.gpus if wanted in (kind or "").lower()), default=0)
    fits_time = nodes.time_limit is None or spec.time_limit is None or spec.time_limit <= nodes.time_limit
    return (
        (spec.exclusive or spec.cpus <= nodes.cpus)
        and (spec.all_memory or (spec.memory_mb or 0) <= nodes.memory_mb)
        and spec.gpus <= gpus
        and fits_time
    )


def destination(
    spec: Spec,
    waited: float | None,
    clusters: Mapping[str, Cluster],
    offers: Mapping[str, Offer],
    room: Mapping[str, int],
) -> str | None:
    """The cluster that a job for any cluster goes to: the first of the configuration that answers, has `room` for
    another one that waits, and nodes for it, once the job has `waited` for this machine as long as it is to (None: it
    can never start here).
    """
    for name, cluster in clusters.items():
        if name not in offers or room.get(name, 0) < 1 or why_not(spec, offers[name]) is not None:
            continue
        if waited is None or (cluster.after is not None and waited >= cluster.after):
            return name
    return None


def could_go(spec: Spec, clusters: Mapping[str, Cluster], offers: Mapping[str, Offer]) -> bool:
    """Whether a job may go to some cluster sooner or later, as far as is known."""
    return any(why_not(spec, offers.get(name)) is None for name in clusters)
