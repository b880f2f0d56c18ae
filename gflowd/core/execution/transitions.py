"""From one phase to the next: the effect of an observation, a wish or an exceeded limit on a job.

Only the scheduler imports this. Every move is checked against `ALLOWED`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowd.core.job import reasons
from gflowd.core.job.model import (
    CANCELLED,
    FAILED,
    FINISHED,
    NEVER,
    TIMEOUT,
    Ended,
    Job,
    Pauses,
    Phase,
    Queued,
    Run,
    Running,
    Started,
    Starting,
    Stopping,
    Suspended,
)
from gflowd.core.job.retries import next_attempt

if TYPE_CHECKING:
    from gflowd.core.execution.observations import Observation
    from gflowd.core.moment import Moment

    Verdict = tuple[str, str | None, int | None, int | None]  # state, reason, exit code, signal

ALLOWED: dict[type[Phase], tuple[type[Phase], ...]] = {
    Queued: (Queued, Starting, Ended),  # itself: its time is put off
    Starting: (Running, Suspended, Stopping, Ended),
    Running: (Suspended, Stopping, Ended),
    Suspended: (Running, Suspended, Stopping, Ended),  # itself: its CPUs are given back later
    Stopping: (Ended,),
    Ended: (Queued, Ended),  # a retry, a requeue; the last of what lingered is gone
}

FILE_TIME_GRAIN = 0.01  # seconds by which a file's time may lag behind the clock (a tick of the kernel)
_FORCED = {  # the state of a job that was ended for a reason; for others it is cancelled
    reasons.TIME_LIMIT: TIMEOUT,
    reasons.OUT_OF_MEMORY: FAILED,
    reasons.NO_OUTPUT: FAILED,  # it hangs, and may be retried
    reasons.IDLE_GPUS: CANCELLED,
}
SIGNAL_STATUS = range(129, 129 + 64)  # 128 + N is how a shell reports death by signal N (POSIX sh, 2.8.2)


def check(before: Phase, after: Phase) -> Phase:
    """`after`, if a job may go there from `before`. Otherwise raises ValueError, which is a bug."""
    if type(after) not in ALLOWED[type(before)]:
        raise ValueError(f"no way from {before!r} to {after!r}")
    return after


def settle(
    job: Job, observation: Observation | None, now: Moment, *, limit: str | None = None, kill_strays: bool = True
) -> Phase | None:
    """The phase that `job` should be in now, or None if it stays as it is.

    `limit`: the reason to end one that was seen to exceed its time or memory. `kill_strays`: what outlives the command
    is ended too. A suspended job goes on by `go_on` alone.
    """
    match job.phase:
        case Ended():
            gone = job.phase.lingers and observation is not None and not observation.lives
            after: Phase | None = job.phase.replace(lingers=False) if gone else None
        case Queued():
            after = _cancelled_in_queue(job, now)
        case Starting(run=run):
            after = _starting(job, run, observation, now, limit)
        case Running():
            after = _running(job, job.phase, observation, now, limit)
        case Suspended():
            after = _suspended(job, job.phase, observation, now, limit)
        case Stopping():  # pragma: no branch -- exhaustive
            after = _stopping(job.phase, observation, now)
    if not kill_strays and observation is not None and isinstance(after, Stopping) and after.why == reasons.STRAYS:
        assert after.started is not None
        after = _outcome(after.run, after.started, after.pauses, observation, now).replace(lingers=True)
    return None if after is None else check(job.phase, after)


def start(job: Job, run: Run) -> Phase:
    """A queued job gets its resources."""
    return check(job.phase, Starting(run=run))


def put_off(job: Job, begin_at: float) -> Phase:
    """A queued run of a series is passed by, and the next time is its time. Raises TypeError for one not queued."""
    if not isinstance(job.phase, Queued):
        raise TypeError(f"job {job.id} is not queued")
    return check(job.phase, job.phase.replace(begin_at=begin_at, since=job.asked_begin))


def go_on(job: Job, now: Moment) -> Phase:
    """A suspended job runs on. Raises TypeError for one that is not suspended."""
    phase = job.phase
    if not isinstance(phase, Suspended):
        raise TypeError(f"job {job.id} is not suspended")
    return check(phase, Running(run=phase.run, started=phase.started, pauses=pauses_until(phase, now)))


def pauses_until(phase: Suspended, now: Moment, ended_at: float | None = None) -> Pauses:
    """The pauses of a suspended run when this one is over: now, or when it ended, on the wall clock. Of a boot that is
    past only the wall clock tells how long it was.
    """
    seconds = now.mono - phase.since_mono if phase.since_boot == now.boot else now.wall - phase.since_at
    if ended_at is not None:
        seconds = min(seconds, ended_at - phase.since_at)
    before = phase.pauses
    return Pauses(count=before.count + 1, seconds=before.seconds + max(0.0, seconds), last_mono=now.mono)


def reject(job: Job, why: str, now: Moment) -> Phase:
    """A queued job that can never run here."""
    return check(
        job.phase, Ended(state=FAILED, reason=reasons.rejected(why), ended_at=now.wall, attempt=_queued_attempt(job))
    )


def lose(job: Job, why: str, now: Moment) -> Phase:
    """A queued job that is cancelled because of other jobs."""
    return check(job.phase, Ended(state=CANCELLED, reason=why, ended_at=now.wall, attempt=_queued_attempt(job)))


def again(job: Job, ended: Ended, now: Moment) -> Phase | None:
    """Queued again, for a job that is retried after `ended`; None if that was the last attempt, or
    if any of its processes still linger.
    """
    if ended.lingers:
        return None
    attempt = ended.last_attempt
    if job.wish.requeued >= attempt:
        return check(ended, Queued(attempt=attempt + 1, since=now.wall))
    if job.spec.retry is None or job.wish.cancelled_at is not None:
        return None
    delay = next_attempt(job.spec.retry, ended, attempt)
    if delay is None:
        return None
    begin_at = ended.ended_at + delay if delay else None
    return check(ended, Queued(attempt=attempt + 1, begin_at=begin_at, since=ended.ended_at))


def unwanted(job: Job, run: Run) -> str | None:
    """Why a live job must end, by its user's wish."""
    if job.wish.cancelled_at is not None:
        return reasons.CANCELLED_BY_USER
    return reasons.REQUEUED if job.wish.requeued >= run.attempt else None


def _cancelled_in_queue(job: Job, now: Moment) -> Phase | None:
    if job.wish.cancelled_at is None:
        return None
    return Ended(state=CANCELLED, reason=reasons.CANCELLED_BY_USER, ended_at=now.wall, attempt=_queued_attempt(job))


def _queued_attempt(job: Job) -> int:
    return job.phase.attempt if isinstance(job.phase, Queued) else 1


def _starting(job: Job, run: Run, observation: Observation | None, now: Moment, limit: str | None) -> Phase | None:
    if observation is not None:
        if observation.barred:
            return _unstarted(run, reasons.ZOMBIE if observation.trouble is None else _launch_failed(observation), now)
        if observation.started is not None:
            running = Running(run=run, started=observation.started)
            return _running(job, running, observation, now, limit) or running
    why = unwanted(job, run)
    return None if why is None else stopping(run, None, NEVER, why, now)


def _running(job: Job, phase: Running, observation: Observation | None, now: Moment, limit: str | None) -> Phase | None:
    after = _over(job, phase.run, phase.started, phase.pauses, observation, now, limit)
    if after is not None or not job.is_to_stand_still or (observation is not None and observation.status is not None):
        return after  # of one that has recorded its end there is nothing left to suspend
    return Suspended(
        run=phase.run,
        started=phase.started,
        since_at=now.wall,
        since_mono=now.mono,
        since_boot=now.boot,
        pauses=phase.pauses,
        without_cpus=job.wish.releases_cpus,
    )


def _suspended(
    job: Job, phase: Suspended, observation: Observation | None, now: Moment, limit: str | None
) -> Phase | None:
    ended_at = None if observation is None else observation.ended_at
    after = _over(job, phase.run, phase.started, pauses_until(phase, now, ended_at), observation, now, limit)
    if after is None and job.is_to_stand_still and job.wish.releases_cpus and not phase.without_cpus:
        return phase.replace(without_cpus=True)
    return after


def _over(
    job: Job,
    run: Run,
    started: Started,
    pauses: Pauses,
    observation: Observation | None,
    now: Moment,
    limit: str | None,
) -> Phase | None:
    """The phase of a job that has begun, when it is over or must end."""
    if observation is not None and observation.complete:
        return _outcome(run, started, pauses, observation, now)
    if observation is not None and not observation.lives and not observation.is_recorded:
        return Ended(
            state=FAILED,
            reason=reasons.ZOMBIE,
            ended_at=now.wall,
            run=run,
            started_at=started.at,
            paused=pauses.seconds,
        )
    why = unwanted(job, run) or limit
    if why is not None:
        return stopping(run, started, pauses, why, now)
    if observation is not None and observation.strays:
        return stopping(run, started, pauses, reasons.STRAYS, now)
    return None


def _stopping(phase: Stopping, observation: Observation | None, now: Moment) -> Phase | None:
    if observation is None:
        return None
    started = phase.started or observation.started
    if started is None:
        return _forced(phase, None, None, now) if observation.barred else None
    if observation.lives or not (observation.complete or not observation.is_recorded):
        return None
    if phase.why == reasons.STRAYS or _ended_before(phase, observation.ended_at, now):
        return _outcome(phase.run, started, phase.pauses, observation, now)
    return _forced(phase, started, observation, now)


def _ended_before(phase: Stopping, ended_at: float | None, now: Moment) -> bool:
    """Whether the command had ended by itself when its stop was decided. Where the wall clock may have been set back
    in between, it must be so by the clock as it is now, too.
    """
    if ended_at is None or ended_at + FILE_TIME_GRAIN > phase.since_at:
        return False
    ago = now.wall - ended_at
    return phase.since_boot != now.boot or now.mono - ago + FILE_TIME_GRAIN <= phase.since_mono


def stopping(run: Run, started: Started | None, pauses: Pauses, why: str, now: Moment) -> Stopping:
    """That the attempt is to end, from now on."""
    return Stopping(
        run=run,
        started=started,
        why=why,
        since_at=now.wall,
        since_mono=now.mono,
        since_boot=now.boot,
        pauses=pauses,
    )


def _launch_failed(observation: Observation) -> str:
    return reasons.launch_failed(observation.trouble or "unknown")


def _unstarted(run: Run, reason: str, now: Moment) -> Ended:
    return Ended(state=FAILED, reason=reason, ended_at=now.wall, run=run)


def _outcome(run: Run, started: Started, pauses: Pauses, observation: Observation, now: Moment) -> Ended:
    """The end according to the exit record."""
    state, reason, code, signal = verdict(observation)
    ended_at = now.wall if observation.ended_at is None else observation.ended_at
    return Ended(
        state=state,
        reason=reason,
        ended_at=ended_at,
        run=run,
        started_at=started.at,
        exit_code=code,
        signal=signal,
        paused=pauses.seconds,
    )


def verdict(observation: Observation) -> Verdict:
    """The state and the reason that an exit record means, and its exit code or signal."""
    code, signal = _code_and_signal(observation.status)
    reason: str | None
    if observation.trouble is not None:
        state, reason = FAILED, _launch_failed(observation)
    elif observation.status is None:
        state, reason = FAILED, reasons.ZOMBIE
    elif observation.starved:
        state, reason = FAILED, reasons.OUT_OF_MEMORY
    elif signal is not None:
        state, reason = FAILED, reasons.signalled(signal)
    elif code:
        state, reason = FAILED, reasons.NON_ZERO_EXIT
    else:
        state, reason = FINISHED, None
    return state, reason, code, signal


def _forced(phase: Stopping, started: Started | None, observation: Observation | None, now: Moment) -> Ended:
    """The end of a job that was stopped."""
    code, signal = _code_and_signal(None if observation is None else observation.status)
    return Ended(
        state=forced_state(phase.why),
        reason=phase.why,
        ended_at=now.wall if observation is None or observation.ended_at is None else observation.ended_at,
        run=phase.run,
        started_at=None if started is None else started.at,
        exit_code=code,
        signal=signal,
        paused=phase.pauses.seconds,
    )


def forced_state(why: str) -> str:
    """The state of a job that was ended for a reason."""
    return _FORCED.get(why, CANCELLED)


def _code_and_signal(status: int | None) -> tuple[int | None, int | None]:
    if status is not None and status in SIGNAL_STATUS:
        return None, status - 128
    return status, None
