"""A cluster as the configuration names it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One `[cluster.NAME]`: how jobs are handed over to it. None: not set."""

    name: str
    directory: str  # seen by this machine and by its nodes; job directories are made below it
    engine: str = "slurm"
    partition: str | None = None
    account: str | None = None  # of jobs without a project
    qos: str | None = None
    options: tuple[str, ...] = ()  # words for sbatch, last
    poll_interval: float = 5.0
    max_pending: int = 1000  # jobs handed over that do not run yet
    after: float | None = 600.0  # how long a job for any cluster waits for this machine; None: it never goes there
    command_prefix: tuple[str, ...] = ()  # words before each of Slurm's programs, such as ssh and a host
