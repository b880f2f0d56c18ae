"""The clusters that jobs can be handed over to: those of the configuration. Asks none of them anything."""

from __future__ import annotations

from gflowd.core.errors import Refused, meant
from gflowd.core.job.model import AUTO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflowctl.context import Context


def check(name: str, context: Context) -> None:
    """Raises `Refused` for one that is not configured; `auto` needs any."""
    if context.state.shared is not None:
        raise Refused("--cluster: a gflowd for all users hands no jobs over to a cluster; use one of your own for that")
    known = tuple(context.settings.get("clusters", ()))
    if not known:
        raise Refused("--cluster: no cluster is configured; see [cluster.NAME] in gflow.toml(5)")
    if name not in known and name != AUTO:
        hint = meant(name, (*known, AUTO))
        raise Refused(f"--cluster: {name[:40]!r} is not a cluster of gflow.toml{hint} (they are {', '.join(known)})")
