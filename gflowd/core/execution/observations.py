"""What the workers report to each other about live jobs: `LiveJob` from the scheduler, `Observations` from the zombie
detector, `Enforced` from the timeout enforcer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gflowd.core.execution import output_files
from gflowd.core.execution.grace import grace as grace_of
from gflowd.core.job import reasons
from gflowd.core.job.model import NEVER, Begun, Job, Pauses, Started, Stopping, Suspended
from gflowd.core.job.value_base import Posted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gflowd.core.execution.usage import Noted
    from gflowd.core.job.model import EarlySignal

Key = tuple[int, int]  # of an attempt: the job's id, and which attempt at it


@dataclass(frozen=True, slots=True)
class LiveJob(Posted):
    """A job that holds resources, as the detector and the enforcer need to know it. Durations in seconds."""

    id: int
    attempt: int
    executor: str
    grace: float
    started: Started | None
    time_limit: float | None
    early_signal: EarlySignal | None = None
    memory_mb: int | None = None  # MiB that it may use
    why: str | None = None  # it is stopping, and why
    since_mono: float = 0.0  # when that began, in boot `since_boot`
    since_boot: str = ""
    pauses: Pauses = NEVER  # those that are over
    suspended: bool = False  # it is to stand still
    quiet_limit: float | None = None  # seconds without output
    outputs: tuple[str, ...] = ()  # the files that it writes to beside its log, where it has such a limit
    gpus: tuple[str, ...] = ()  # the UUIDs of those that it has for itself
    relay: str | None = None  # what connects it with its `gflowctl run`, with which it ends
    slurm: bool = False  # a script written for Slurm
    uid: int | None = None  # whose it is, under a daemon for many users
    cluster: str | None = None  # which cluster runs it, see `core.cluster`
    cluster_id: str | None = None  # by which that knows it
    job: Job | None = None  # all of it, while no id is known
    throttle: int | None = None  # how many of its array may run there at a time

    def runs_in(self, boot: str) -> bool:
        """Whether it has begun, in this boot."""
        return self.started is not None and self.started.identity.boot == boot

    @property
    def key(self) -> Key:
        """Id and attempt."""
        return self.id, self.attempt


def live_job(job: Job, grace: float | None) -> LiveJob:
    """The live view of `job`, or of one that lingers; `grace` is that of gflow.toml, for jobs without their own.

    Raises TypeError for a job that has no run.
    """
    phase = job.phase
    run = job.run
    if run is None:
        raise TypeError(f"job {job.id} is not live")
    stop = phase if isinstance(phase, Stopping) else None
    return LiveJob(
        id=job.id,
        attempt=run.attempt,
        executor=run.executor,
        grace=grace_of(job.spec, grace),
        started=phase.started if isinstance(phase, Begun) else None,
        time_limit=job.spec.time_limit,
        early_signal=job.spec.early_signal,
        memory_mb=job.spec.memory_mb,
        why=stop.why if stop and stop.why != reasons.COMPLETING else None,
        since_mono=stop.since_mono if stop else 0.0,
        since_boot=stop.since_boot if stop else "",
        pauses=phase.pauses if isinstance(phase, Begun) else NEVER,
        suspended=isinstance(phase, Suspended),
        quiet_limit=job.spec.quiet_limit,
        outputs=() if job.spec.quiet_limit is None else output_files.paths(job),
        gpus=() if job.spec.shared or job.run is None else job.run.gpu_uuids,
        relay=job.spec.relay,
        slurm=job.spec.slurm,
        uid=job.spec.uid,
        cluster=run.cluster,
        cluster_id=run.cluster_id,
        job=job if run.cluster is not None and run.cluster_id is None else None,
    )


@dataclass(frozen=True, slots=True)
class Enforced:
    """What the timeout enforcer found: the attempts over their time limit, those over their memory, those that outlive
    KILL, those that wrote no output for too long, and of these those that must end for it.
    """

    overdue: tuple[Key, ...] = ()
    over_memory: tuple[Key, ...] = ()
    stuck: tuple[Key, ...] = ()
    quiet: tuple[Key, ...] = ()
    silent: tuple[Key, ...] = ()

    def exceeded(self, key: Key | None) -> str | None:
        """The reason for which an attempt must end: the limit that it exceeds."""
        if key in self.over_memory:
            return reasons.OUT_OF_MEMORY
        if key in self.overdue:
            return reasons.TIME_LIMIT
        return reasons.NO_OUTPUT if key in self.silent else None


@dataclass(frozen=True, slots=True)
class Observation(Posted):
    """The state of one attempt, from its files and processes.

    `barred`: it never began and never will. `status`: its exit record; `trouble`: why it could not be launched, if the
    record says so; both None while there is no record. `starved`: the kernel ended it for lack of memory. `lives`: it
    still has a process. `complete`: it has none, and its log has its last byte. `abandoned`: the `gflowctl run` that it
    belongs to is gone.
    """

    started: Started | None = None
    barred: bool = False
    lives: bool = False
    strays: bool = False  # the command has ended and others of its processes live on
    status: int | None = None
    trouble: str | None = None
    starved: bool = False
    ended_at: float | None = None
    complete: bool = False
    used: Noted | None = None  # of a complete one
    abandoned: bool = False

    @property
    def is_recorded(self) -> bool:
        """Whether there is an exit record."""
        return self.status is not None or self.trouble is not None


@dataclass(frozen=True, slots=True)
class Observations:
    """What the zombie detector sees: an observation of each live attempt that has begun, or should have, by its key."""

    of_attempts: Mapping[Key, Observation] = field(default_factory=dict)

    def of(self, key: Key | None) -> Observation | None:
        """The observation of one attempt; None while there is none."""
        return None if key is None else self.of_attempts.get(key)
