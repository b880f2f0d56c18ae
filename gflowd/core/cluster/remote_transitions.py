"""From one phase of an attempt on a cluster to the next: as `transitions.settle`, by what the bridge has seen.

Only the scheduler imports this. Time limits are the cluster's, and so is what is left of a job there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowd.core.cluster.remote_observations import ENDING, RUNNING, SUSPENDED, WAITING
from gflowd.core.execution import transitions
from gflowd.core.job import reasons
from gflowd.core.job.model import (
    NEVER,
    SLURM,
    Begun,
    Ended,
    Phase,
    Queued,
    Run,
    Running,
    Starting,
    Stopping,
    Suspended,
)

if TYPE_CHECKING:
    from gflowd.core.cluster.remote_observations import End, Sight
    from gflowd.core.job.model import Job, Pauses, Started
    from gflowd.core.moment import Moment


def hand_over(job: Job, cluster: str, now: Moment) -> Phase:
    """A queued job is a cluster's from now on."""
    attempt = job.phase.attempt if isinstance(job.phase, Queued) else 1
    run = Run(attempt=attempt, executor=SLURM, launched_at=now.wall, cluster=cluster, remote_gpus=job.spec.gpus)
    return transitions.start(job, run)


def settle(job: Job, sight: Sight | None, now: Moment) -> Phase | None:
    """The phase that a live job of a cluster should be in now, or None if it stays as it is."""
    phase = job.phase
    assert isinstance(phase, Starting | Begun)
    if sight is not None and sight.end is not None:
        return transitions.check(phase, _ended(job, phase, sight, sight.end, now))
    if isinstance(phase, Stopping):
        return None
    run, started = _run(phase.run, sight), _started(phase, sight)
    why = transitions.unwanted(job, run)
    if why is None and sight is not None and sight.stage == ENDING:
        why = reasons.COMPLETING
    if why is not None:
        after: Phase = transitions.stopping(run, started, _pauses(phase, now), why, now)
    else:
        after = _going_on(phase, run, started, WAITING if sight is None else sight.stage, now)
    if isinstance(phase, Starting) and isinstance(after, Starting):
        return None if after == phase else after  # the cluster has given it an id
    return None if after == phase else transitions.check(phase, after)


def _run(run: Run, sight: Sight | None) -> Run:
    if sight is None:
        return run
    return run.replace(cluster_id=sight.cluster_id or run.cluster_id, node=sight.node or run.node)


def _started(phase: Starting | Begun, sight: Sight | None) -> Started | None:
    """What has been seen first counts."""
    known = None if isinstance(phase, Starting) else phase.started
    return known or (None if sight is None else sight.started)


def _going_on(phase: Starting | Begun, run: Run, started: Started | None, stage: str, now: Moment) -> Phase:
    """A job that has once begun is not seen as waiting again: what is told of it then will pass."""
    if started is None or (stage == WAITING and isinstance(phase, Starting)):
        return Starting(run=run)
    if stage == SUSPENDED and not isinstance(phase, Suspended):
        return Suspended(
            run=run,
            started=started,
            since_at=now.wall,
            since_mono=now.mono,
            since_boot=now.boot,
            pauses=_pauses(phase, now),
        )
    if stage == RUNNING and not isinstance(phase, Running):
        return Running(run=run, started=started, pauses=_pauses(phase, now))
    return phase


def _pauses(phase: Starting | Begun, now: Moment) -> Pauses:
    if isinstance(phase, Suspended):
        return transitions.pauses_until(phase, now)
    return NEVER if isinstance(phase, Starting) else phase.pauses


def _ended(job: Job, phase: Starting | Begun, sight: Sight, end: End, now: Moment) -> Ended:
    """The end as the cluster has it, unless we had it stopped before."""
    at = now.wall if end.at is None else end.at
    started = _started(phase, sight)
    state, reason = end.state, end.reason
    stopped = isinstance(phase, Stopping) and phase.why != reasons.COMPLETING
    if isinstance(phase, Stopping) and stopped and not (end.is_own and at < phase.since_at):
        state, reason = transitions.forced_state(phase.why), phase.why
    elif reason == reasons.CANCELLED_ELSEWHERE and (why := transitions.unwanted(job, phase.run)) is not None:
        reason = why  # its end was quicker than our knowing that we want it
    return Ended(
        state=state,
        reason=reason,
        ended_at=at,
        run=_run(phase.run, sight),
        started_at=None if started is None else started.at,
        exit_code=end.exit_code,
        signal=end.signal,
        paused=_pauses(phase, now).seconds,
    )
