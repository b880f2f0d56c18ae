"""Whether a job can run where it is to: here, or on a cluster of the configuration, by what gflowd last saw there. Asks
none of them. All that makes a job, or lets one run again, goes by this.
"""

from __future__ import annotations

from gflowd.core.errors import Refused, meant
from gflowd.core.job.model import AUTO, HERE
from gflowd.core.request import cluster_options, validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflowctl.context import Context
    from gflowd.core.job.model import Spec
    from gflowd.core.request.validation import Limits


def named(word: str | None) -> str | None:
    """The cluster that a value of --cluster means; None: this machine."""
    return None if word == HERE else word


def checked(spec: Spec, context: Context, limits: Limits) -> Spec:
    """As `validation.checked`, of a job that waits to start. Raises `Refused`."""
    spec = validation.checked(spec, limits)
    if spec.cluster is not None:
        check(spec, context)
    return spec


def check(spec: Spec, context: Context) -> None:
    """Raises `Refused` for a cluster that is not configured, and for one whose nodes are known to be too small."""
    assert spec.cluster is not None
    _check_name(spec.cluster, context)
    known = context.observed.clusters
    if spec.cluster != AUTO:
        if (why := _why_not(spec, known.get(spec.cluster))) is not None:
            raise Refused(f"--cluster {spec.cluster}: {why}; gflowctl info --cluster shows its nodes")
        return
    here = validation.why_impossible(spec, context.limits)
    names = context.settings.get("clusters", ())
    if here is not None and all(_why_not(spec, known.get(name)) for name in names):
        raise Refused(f"{here}, and no cluster has nodes for it")


def _why_not(spec: Spec, told: dict[str, Any] | None) -> str | None:
    """Why no node of a cluster can run it, as far as gflowd has seen them."""
    if told is None or not told.get("nodes"):
        return None
    from gflowd.core.cluster import suitability
    from gflowd.core.cluster.remote_observations import Nodes, Offer

    nodes = (
        Nodes(each["cpus"], each["memory_mb"], tuple(map(tuple, each["gpus"])), each["time_limit"])
        for each in told["nodes"]
    )
    return suitability.why_not(spec, Offer(tuple(nodes)))


def _check_name(name: str, context: Context) -> None:
    if context.state.shared is not None:
        raise Refused(f"--cluster: {cluster_options.FOR_ALL_USERS}")
    known = tuple(context.settings.get("clusters", ()))
    if not known:
        raise Refused("--cluster: no cluster is configured; see [cluster.NAME] in gflow.toml(5)")
    if name not in known and name != AUTO:
        hint = meant(name, (*known, AUTO))
        raise Refused(f"--cluster: {name[:40]!r} is not a cluster of gflow.toml{hint} (they are {', '.join(known)})")
