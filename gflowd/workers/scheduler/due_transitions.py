"""The changes of jobs since the last tick: of live ones, as the other workers see them, and of queued ones that are
no longer wanted, can never start, or are passed by. Decides by the pure core, changes nothing.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from gflowd.core.cluster import remote_transitions
from gflowd.core.execution import recurring_series, transitions, usage
from gflowd.core.gpu.mean_load import Load
from gflowd.core.job import reasons
from gflowd.core.job.model import Ended, Job, Phase, Suspended
from gflowd.core.planning import unsuspension
from gflowd.workers.scheduler.planner import ends, is_here

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gflowd.core.execution.observations import Key
    from gflowd.core.job.model import Used
    from gflowd.core.moment import Moment
    from gflowd.core.queue.job_queue import JobQueue
    from gflowd.workers.board_slots import Slots
    from gflowd.workers.scheduler.planner import Changes

AT_ONCE = 2000  # jobs without resources that end at a time, so that a tick stays short


def settle(
    job_queue: JobQueue, slots: Slots, too_idle: Collection[Key], now: Moment, *, cpus: int, kill_strays: bool
) -> Changes:
    """The new phases of jobs; `too_idle`: the attempts that leave their GPUs idle; `cpus`: the machine's CPU slots."""
    seen, exceeds = slots.observations, slots.enforced
    changes: Changes = {}
    for job in (*job_queue.live.values(), *job_queue.lingering.values()):
        key = (job.id, job.run.attempt) if job.run else None
        if not is_here(job):
            if (there := remote_transitions.settle(job, slots.sights.of(key), now)) is not None:
                changes[job.id] = with_next_attempt(job, there, now)
            continue
        observation = seen.of(key)
        is_idle = key in too_idle and not isinstance(job.phase, Suspended)
        limit = exceeds.exceeded(key) or (reasons.IDLE_GPUS if is_idle else None)
        if limit is None and observation is not None and observation.abandoned:
            limit = reasons.TERMINAL_LOST
        after = transitions.settle(job, observation, now, limit=limit, kill_strays=kill_strays)
        if isinstance(after, Ended) and after.started_at is not None and not isinstance(job.phase, Ended):
            after = after.replace(used=_used(slots, key))
        if after is not None:
            changes[job.id] = with_next_attempt(job, after, now)
    staying = [job for job in job_queue.live.values() if is_here(job) and not ends(changes.get(job.id))]
    for job in unsuspension.may_go_on(staying, cpus):
        changes.setdefault(job.id, (transitions.go_on(job, now),))
    for job, phases in itertools.islice(_without_resources(job_queue, now), AT_ONCE):
        changes[job.id] = phases
    for job, before in job_queue.due_runs(now.wall):
        other = job_queue.live.get(before)
        key = (before, other.run.attempt) if other is not None and other.run else None
        if other is not None and (before in changes or (seen.of(key) is None and slots.sights.of(key) is None)):
            continue  # whether it goes on, or when it ended, is to be seen
        begin_at = recurring_series.put_off(job, job_queue.ended_at(before), now.wall)
        if begin_at is not None:
            changes[job.id] = (transitions.put_off(job, begin_at),)
    return changes


def _used(slots: Slots, key: Key | None) -> Used | None:
    """What an attempt that has just ended used: it is on the board until its end is committed."""
    if key is None:
        return None
    seen = slots.observations.of(key)
    at_end = None if seen is None else seen.used
    load = slots.gpu_report.loads.get(key, Load())
    return usage.used(at_end, slots.samples.of_attempts.get(key), load.mean, load.polls)


def _without_resources(job_queue: JobQueue, now: Moment) -> Iterator[tuple[Job, tuple[Phase, ...]]]:
    """The new phases of jobs without resources; there may be very many."""
    for job_id, why in job_queue.lost.items():
        job = job_queue.queued[job_id]
        yield job, (transitions.lose(job, why, now),)
    for job in job_queue.reopened.values():
        yield job, with_next_attempt(job, job.phase, now)
    for job in job_queue.unwanted():
        after = transitions.settle(job, None, now)
        if after is not None:
            yield job, with_next_attempt(job, after, now)


def with_next_attempt(job: Job, after: Phase, now: Moment) -> tuple[Phase, ...]:
    """`after`, followed by the queued phase if the job is to be retried."""
    following = transitions.again(job, after, now) if isinstance(after, Ended) else None
    return (after,) if following is None else (after, following)
