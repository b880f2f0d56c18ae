"""Whether the machine is drained: the setting that keeps jobs from starting, for drain, resume and info."""

from __future__ import annotations

from gflowctl.output.render import rfc3339
from gflowd.core.job.records import SETTING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflowd.core.syntax.clocks import Clock
    from gflowd.storage.record_log import Fold

NAME = "drain"


def of(fold: Fold) -> dict[str, Any] | None:
    """`at` (seconds since the epoch), `by` and `reason` of the drain; None if jobs start."""
    found: dict[str, Any] | None = fold.of(SETTING).get(NAME)
    return found


def record(drain: dict[str, Any] | None) -> dict[str, Any] | None:
    """The object of `--json`; None if jobs start."""
    return drain and {**drain, "at": rfc3339(drain["at"])}


def words(drain: dict[str, Any], clock: Clock) -> str:
    """`since 2025-01-31T18:30:00 by ada: new disks`."""
    why = f": {drain['reason']}" if drain.get("reason") else ""
    return f"since {clock.stamp(drain['at'])} by {drain['by']}{why}"
