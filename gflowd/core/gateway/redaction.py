"""What users see of each other's jobs where these are private: how they stand in the queue, not what they run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

HIDDEN = "(private)"
_TELLING = "LaunchFailed:"
# Fields of a spec that all may see; what a later version adds is hidden until it is named here.
SHOWN = (
    "all_memory", "batch", "begin_at", "cluster", "cpus", "deadline", "early_signal", "exclusive", "executor",
    "gpu_memory_mb",
    "gpu_prefer", "gpu_type", "gpus", "grace", "memory_mb", "name", "name_template", "needs", "priority", "project",
    "quiet_limit", "redone_from", "repeat", "retry", "shared", "slurm", "submitted_at", "tasks", "time_limit", "uid",
    "user",
)  # fmt: skip


def spec(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The record of another user's spec: what is hidden is left out, or says so. An array keeps its elements, but not
    their parameters.
    """
    shown = {name: raw[name] for name in SHOWN if name in raw}
    shown |= {"command": [HIDDEN], "cwd": "/", "env": "private"}
    if raw.get("family") is not None:
        family = {name: value for name, value in raw["family"].items() if name != "edits"}
        if "axes" in family:
            family["axes"] = [
                {**axis, "rows": [[HIDDEN] * len(row) for row in axis["rows"]]} for axis in family["axes"]
            ]
        shown["family"] = family
    return shown


def end(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record of how another user's job, or an attempt at it, is or ended: not which file could not be opened."""
    return {**raw, "reason": f"{_TELLING}{HIDDEN}"} if str(raw.get("reason")).startswith(_TELLING) else raw
