"""What has happened to jobs, from their records as they are now and from what was told of them before.

What lies between is told too, as far as records show it: each attempt that began and ended, however long nobody
looked. A hold that was released, an update before another and a stop before its end leave no record, and are told only
if they were seen.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gflowd.core.events import kinds
from gflowd.core.events.told_events import (
    ENDED,
    HELD,
    NOT_STARTED,
    QUEUED,
    STARTED,
    STOPPING,
    SUSPENDED,
    UNSTARTED,
    Mark,
    Submitted,
    ToldEvents,
    mark,
)
from gflowd.core.execution import output_files
from gflowd.core.job import array_task, arrays, codec, model, records
from gflowd.core.job.retries import next_attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from gflowd.core.events.kinds import Event
    from gflowd.core.job.model import Ended, Job, Spec

    Raw = Mapping[str, Any]

RETRY, REQUEUED = "Retry", "Requeued"  # why a job was queued again
_STAGE_OF = {
    records.STARTING: QUEUED,  # nothing was seen of it yet
    records.RUNNING: STARTED, records.SUSPENDED: SUSPENDED, records.STOPPING: STOPPING, records.ENDED: ENDED,
}  # fmt: skip
_ORDER = {QUEUED: 0, HELD: 0, STARTED: 1, SUSPENDED: 1, STOPPING: 2, UNSTARTED: 2, ENDED: 3}


@dataclass(frozen=True, slots=True)
class JobFacts:
    """The records of jobs, and the id of the spec that a job has."""

    specs: Mapping[int, Raw]
    wishes: Mapping[int, Raw]
    phases: Mapping[int, Raw]
    attempts: Mapping[str, Raw]
    limits: Mapping[int, Raw]
    spec_of: Callable[[int], int]
    decoded: dict[int, tuple[Raw, Spec]] = field(default_factory=dict)  # of specs, to be used again; any may be missing


@dataclass(slots=True)
class Untold:
    """What may have changed since it was last told: these specs and jobs, or with `whole` all of them. Mutable."""

    specs: set[int] = field(default_factory=set)
    jobs: set[int] = field(default_factory=set)
    whole: bool = True

    def __bool__(self) -> bool:
        return self.whole or bool(self.specs or self.jobs)

    def note(self, keys: Iterable[tuple[str, Any]] | None) -> None:
        """These records have changed, by kind and id; None: any may have."""
        self.whole |= keys is None
        for kind, key in keys or ():
            if kind in (records.PHASE, records.WISH):
                self.jobs.add(key)
            elif kind in (records.SPEC, records.LIMIT):
                self.specs.add(key)

    def clear(self) -> None:
        """All has been told."""
        self.specs.clear()
        self.jobs.clear()
        self.whole = False


def derive(facts: JobFacts, told: ToldEvents, untold: Untold, wall: float) -> list[Event]:
    """The events about what is untold, in the order of their times; those of a job stay in their own."""
    specs: Iterable[int] = facts.specs if untold.whole else untold.specs
    jobs: Iterable[int] = facts.wishes.keys() | facts.phases.keys() if untold.whole else untold.jobs
    news = _News(facts, told, wall, whole=untold.whole)
    found = [each for spec_id in sorted(specs) for each in news.of_spec(spec_id)]
    found += [each for job_id in sorted(jobs) for each in news.of_job(job_id)]
    return [event for _, event in sorted(found, key=lambda each: each[0])]


def gone(facts: JobFacts, told: ToldEvents, untold: Untold) -> tuple[list[int], list[int]]:
    """The specs and jobs that were told of and have left the snapshot."""
    specs: Iterable[int] = told.specs if untold.whole else untold.specs
    jobs: Iterable[int] = told.jobs if untold.whole else untold.jobs
    return (
        [spec_id for spec_id in specs if spec_id not in facts.specs],
        [job_id for job_id in jobs if facts.spec_of(job_id) not in facts.specs],
    )


def stage_of(wish: Raw | None, phase: Raw | None) -> Mark:
    """How far a job has come."""
    if phase is None or records.is_queued(phase):
        is_held = wish is not None and wish.get("held", False)  # also if it is cancelled: that is no release
        return mark(1 if phase is None else phase.get("attempt", 1), HELD if is_held else QUEUED)
    stage = _STAGE_OF[records.phase_name(phase)]
    if stage == STOPPING and phase.get("started") is None:
        stage = UNSTARTED
    pauses = (phase.get("pauses") or {}).get("count", 0) if stage in (STARTED, SUSPENDED) else 0
    return mark(records.attempt_of(phase), stage, pauses)


def digest(spec: Raw, limit: Raw | None) -> int:
    """By which a changed spec is noticed. How much of the machine a job gets that asks for all of it is no change."""
    resolved = {name for asked, name in (("exclusive", "cpus"), ("all_memory", "memory_mb")) if spec.get(asked)}
    fields = [(name, value) for name, value in sorted(spec.items()) if name not in resolved]
    return zlib.crc32(repr((fields, limit)).encode("utf-8", "surrogatepass"))


def all_told(facts: JobFacts) -> ToldEvents:
    """As if all that is now had been told: where it is not known what was."""
    told = ToldEvents()
    for spec_id, raw in facts.specs.items():
        family = raw.get("family")
        count = 1 if family is None else arrays.size(arrays.from_json(family))
        told.specs[spec_id] = Submitted(digest(raw, facts.limits.get(spec_id)), QUEUED, count)
    for job_id in facts.wishes.keys() | facts.phases.keys():
        told.jobs[job_id] = stage_of(facts.wishes.get(job_id), facts.phases.get(job_id))
    return told


class _News:
    """One derivation: `of_spec` first, then `of_job`. Events come with the time by which they are sorted."""

    def __init__(self, facts: JobFacts, told: ToldEvents, wall: float, *, whole: bool) -> None:
        self._facts = facts
        self._told = told
        self._wall = wall
        self._whole = whole
        self._new: dict[int, tuple[Mark, float]] = {}  # specs that are told now: where their jobs begin, and when

    def of_spec(self, spec_id: int) -> Iterator[tuple[float, Event]]:
        raw = self._facts.specs.get(spec_id)
        if raw is None:
            return
        known, now = self._told.specs.get(spec_id), digest(raw, self._facts.limits.get(spec_id))
        if known is not None and (known.digest == now or (known.digest is None and self._whole)):
            return
        job = self._job(spec_id)
        at = self._wall
        if known is None:
            begin = stage_of(self._facts.wishes.get(spec_id), None)
            at = job.spec.submitted_at
            self._new[spec_id] = begin, at
            event = _event(kinds.JOB_SUBMITTED, at, job, 1)
            event["state"] = model.HELD if begin.stage == HELD else model.QUEUED
        else:
            event = _event(kinds.JOB_UPDATED, at, job, stage_of(None, self._facts.phases.get(spec_id)).attempt)
        family = job.spec.family
        if family is not None:
            event |= {"array_id": spec_id, "array_index": None, "name": job.spec.name}
        event["count"] = 1 if family is None else arrays.size(family)
        yield at, event | _request(job.spec) | {"digest": now}

    def of_job(self, job_id: int) -> Iterator[tuple[float, Event]]:
        spec_id = self._facts.spec_of(job_id)
        if spec_id not in self._facts.specs:
            return
        wish, phase = self._facts.wishes.get(job_id), self._facts.phases.get(job_id)
        begin, latest = self._new.get(spec_id) or (self._told.of_job(job_id, spec_id), float("-inf"))
        now = stage_of(wish, phase)
        if begin == now:
            return
        for event in self._between(self._job(job_id), begin, now):
            latest = max(latest, event["at"])
            yield latest, event

    def _job(self, job_id: int) -> Job:
        spec_id = self._facts.spec_of(job_id)
        raw = self._facts.specs[spec_id]
        known = self._facts.decoded.get(spec_id)
        if known is None or known[0] is not raw:
            known = self._facts.decoded[spec_id] = raw, codec.decode_spec(raw)
        array_id = spec_id if "family" in raw else None
        wish, phase = self._facts.wishes.get(job_id), self._facts.phases.get(job_id)
        return codec.element(job_id, known[1], wish, phase, array_id)

    def _between(self, job: Job, begin: Mark, now: Mark) -> Iterator[Event]:
        """The events that lead from what was told to what is now."""
        here = begin
        if here.attempt > now.attempt or (here.attempt == now.attempt and _ORDER[now.stage] < _ORDER[here.stage]):
            here = mark(now.attempt, QUEUED)  # an older snapshot was restored
            yield self._requeued(job, here.attempt)
        while here.attempt < now.attempt:
            past = self._facts.attempts.get(f"{job.id}.{here.attempt}")
            if past is not None and here.stage != ENDED:
                ended = job.replace(phase=codec.decode_phase(past))
                yield from self._within(ended, here, mark(here.attempt, ENDED), is_final=False)
            here = mark(here.attempt + 1, QUEUED)
            yield self._requeued(job, here.attempt)
        yield from self._within(job, here, now, is_final=_is_final(job))

    def _requeued(self, job: Job, attempt: int) -> Event:
        phase = job.phase
        past = self._facts.attempts.get(f"{job.id}.{attempt - 1}", {})
        at, begin_at = past.get("ended_at", self._wall), None
        if isinstance(phase, model.Queued) and phase.attempt == attempt:
            at, begin_at = phase.since or at, phase.begin_at
        reason = REQUEUED if job.wish.requeued >= attempt - 1 else RETRY
        return {**_event(kinds.JOB_REQUEUED, at, job, attempt), "reason": reason, "begin_at": begin_at}

    def _within(self, job: Job, here: Mark, now: Mark, *, is_final: bool) -> Iterator[Event]:
        """The events of one attempt."""
        phase, attempt = job.phase, now.attempt
        if now.stage in (QUEUED, HELD):
            yield from self._hold(job, here, now)
            return
        started_at = _started_at(job)  # of one that was to end before it was seen to begin, only its end tells
        if here.stage in NOT_STARTED:
            if here.stage == HELD and started_at is not None:
                yield _event(kinds.JOB_RELEASED, job.wish.released_at or started_at, job, attempt)
            if started_at is not None:
                yield self._started(job, attempt, started_at)
            here = mark(attempt, STARTED)
        yield from self._suspensions(job, here, now)
        if isinstance(phase, model.Stopping):
            yield {**_event(kinds.JOB_STOPPING, phase.since_at, job, attempt), "reason": phase.why}
        elif isinstance(phase, model.Ended):
            yield _ended(job, phase, is_final=is_final)

    def _hold(self, job: Job, here: Mark, now: Mark) -> Iterator[Event]:
        if now.stage == HELD != here.stage:
            yield _event(kinds.JOB_HELD, self._wall, job, now.attempt)
        elif here.stage == HELD != now.stage:
            yield _event(kinds.JOB_RELEASED, job.wish.released_at or self._wall, job, now.attempt)

    def _started(self, job: Job, attempt: int, started_at: float) -> Event:
        spec, run = job.spec, job.run
        since = spec.submitted_at if spec.repeat is None else max(spec.submitted_at, spec.repeat.due)
        before = self._facts.attempts.get(f"{job.id}.{attempt - 1}", {})
        since = before.get("ended_at", since)
        since = self._told.queued_again.get(job.id) or since
        return {
            **_event(kinds.JOB_STARTED, started_at, job, attempt),
            "gpus": spec.gpus, "gpu_ids": [] if run is None else list(run.gpu_ids), "cpus": spec.cpus,
            "memory_mb": spec.memory_mb, "started_at": started_at, "wait_seconds": _seconds(started_at - since),
        }  # fmt: skip

    def _suspensions(self, job: Job, here: Mark, now: Mark) -> Iterator[Event]:
        """`suspensions`: how many there were by then in this attempt."""
        if now.stage not in (STARTED, SUSPENDED):
            return
        stands = here.stage == SUSPENDED
        if now.pauses > here.pauses or (stands and now.stage == STARTED):
            if not stands:
                yield {**_event(kinds.JOB_SUSPENDED, self._wall, job, now.attempt), "suspensions": now.pauses}
            yield {**_event(kinds.JOB_UNSUSPENDED, self._wall, job, now.attempt), "suspensions": now.pauses}
            stands = False
        if isinstance(job.phase, model.Suspended) and not stands:
            at = job.phase.since_at
            yield {**_event(kinds.JOB_SUSPENDED, at, job, now.attempt), "suspensions": now.pauses + 1}


def _event(kind: str, at: float, job: Job, attempt: int) -> Event:
    spec = job.spec
    event: Event = {
        "at": round(at, 6), "kind": kind, "job": job.id, "array_id": job.array_id,
        "array_index": array_task.index(job), "name": array_task.name(job), "user": spec.user,
        "project": spec.project, "attempt": attempt,
    }  # fmt: skip
    if spec.notify_on:
        event["notify"] = _notification(job)
    return event


def _notification(job: Job) -> Event:
    """What the notifier needs to know: whom to tell of what; of how many jobs an array is; the time limit, parts of
    which may be told; where the output is, the end of which a mail has.
    """
    spec = job.spec
    asked: Event = {"email": spec.notify_email, "on": list(spec.notify_on)}
    if spec.time_limit is not None:
        asked["time_limit"] = spec.time_limit
    if spec.notify:
        asked["urls"] = list(spec.notify)
    if spec.family is not None:
        asked["size"] = arrays.size(spec.family)
    if spec.output is not None and isinstance(job.phase, model.Ended):
        asked["output"] = output_files.path(job, spec.output)
    return asked


def _request(spec: Spec) -> Event:
    return {
        "gpus": spec.gpus, "cpus": spec.cpus, "memory_mb": spec.memory_mb, "time_limit": spec.time_limit,
        "priority": spec.priority, "begin_at": spec.begin_at, "submitted_at": spec.submitted_at,
    }  # fmt: skip


def _ended(job: Job, ended: Ended, *, is_final: bool) -> Event:
    spec, run, began = job.spec, ended.run, ended.started_at
    return {
        **_event(kinds.JOB_ENDED, ended.ended_at, job, ended.last_attempt),
        "state": ended.state, "reason": ended.reason, "exit_code": ended.exit_code, "signal": ended.signal,
        "gpus": spec.gpus, "gpu_ids": [] if run is None else list(run.gpu_ids), "cpus": spec.cpus,
        "memory_mb": spec.memory_mb, "submitted_at": spec.submitted_at, "started_at": began,
        "ended_at": ended.ended_at,
        "run_seconds": None if began is None else _seconds(ended.ended_at - began - ended.paused),
        "used": None if ended.used is None else ended.used.fields(), "final": is_final,
    }  # fmt: skip


def _started_at(job: Job) -> float | None:
    if isinstance(job.phase, model.Ended):
        return job.phase.started_at
    return job.phase.started.at if isinstance(job.phase, model.Begun) and job.phase.started is not None else None


def _is_final(job: Job) -> bool:
    """Whether no attempt follows the last one, as far as is known: one that left processes is retried after these."""
    ended = job.phase
    if not isinstance(ended, model.Ended) or job.wish.requeued >= ended.last_attempt:
        return False
    if not ended.lingers or job.spec.retry is None or job.wish.cancelled_at is not None:
        return True
    return next_attempt(job.spec.retry, ended, ended.last_attempt) is None


def _seconds(found: float) -> float:
    return round(max(0.0, found), 6)
