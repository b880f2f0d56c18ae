"""How long a job has from its first signal to KILL. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gflowd.core.job.model import Spec

USUAL = 10.0  # seconds, where neither the job nor gflow.toml says otherwise
KILL_WAIT = 30.0  # the same for a script written for Slurm: the default of slurm.conf(5)


def grace(spec: Spec, configured: float | None) -> float:
    """The seconds that the job says, else those of gflow.toml, else the usual ones."""
    if spec.grace is not None:
        return spec.grace
    if configured is not None:
        return configured
    return KILL_WAIT if spec.slurm else USUAL
