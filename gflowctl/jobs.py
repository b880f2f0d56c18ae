"""Jobs as a user sees them: which are named, in what state and why. Reads the snapshot, never writes."""

from __future__ import annotations

import time

from gflowd.core import codec, joblist, patterns
from gflowd.core.model import (
    CANCELLED,
    FINISHED,
    HELD,
    QUEUED,
    TIMEOUT,
    TMUX,
    Ended,
    Job,
    Queued,
    Running,
    Stopping,
    session_name,
)
from gflowd.core.reasons import BEGIN_TIME, CANCELLED_BY_USER, DAEMON_DOWN, DEPENDENCY, HELD_BY_USER, RETRY_DELAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from gflowctl.context import Context
    from gflowd.core.model import Phase
    from gflowd.paths import State
    from gflowd.snapshot import Fold

SIGNALLED = 128
STATUS_TIMEOUT = 124  # as timeout(1)
STATUS_CANCELLED = 130  # as a shell after Ctrl-C
STATUS_OUT_OF_MEMORY = 137  # as a shell after SIGKILL
OUT_OF_MEMORY = "OutOfMemory"


class View:
    """The jobs of one folded snapshot at one moment, and what the daemon said of them."""

    def __init__(self, context: Context, fold: Fold) -> None:
        self.context = context
        self.fold = fold
        self.now = time.time()
        observed = context.observed or {}
        self.observed_reasons: dict[str, str] = observed.get("reasons") or {}
        self._daemon_runs: bool | None = None

    @property
    def daemon_runs(self) -> bool:
        if self._daemon_runs is None:
            self._daemon_runs = self.context.daemon_runs
        return self._daemon_runs

    def ids(self) -> list[int]:
        """Every job's id, ascending."""
        return sorted(self.fold.of("spec"))

    def select(self, texts: Iterable[str]) -> list[int]:
        """The ids that JOBS arguments name. Raises as `joblist.select`."""
        specs, user = self.fold.of("spec"), self.context.user
        known = self.ids()
        mine = [job_id for job_id in known if specs[job_id]["user"] == user]
        return joblist.select(",".join(texts), known, mine)

    def job(self, job_id: int) -> Job:
        """The job with this id, which must be there."""
        fold = self.fold
        job = codec.job(job_id, fold.of("spec")[job_id], fold.of("wish").get(job_id), fold.of("phase").get(job_id))
        return job.replace(phase=self.phase(job_id)) if isinstance(job.phase, Ended) else job

    def phase(self, job_id: int) -> Phase:
        """Its phase; where it has ended and is wanted again, the one that the daemon will give it."""
        raw = self.fold.of("phase").get(job_id)
        if raw is None:
            return Queued()
        if raw["is"] == "ended" and _is_wanted_again(raw, self.fold.of("wish").get(job_id)):
            return Queued(attempt=_attempt_of(raw) + 1)
        return codec.decode_phase(raw)

    def past(self, job_id: int, number: int) -> Ended | None:
        """How an earlier attempt ended; None when that is not known."""
        raw = self.fold.of("attempt").get(f"{job_id}.{number}")
        if raw is None:  # the last one is recorded when the daemon begins the next
            raw = self.fold.of("phase").get(job_id) or {}
            if raw.get("is") != "ended" or _attempt_of(raw) != number:
                return None
        phase = codec.decode_phase(raw)
        return phase if isinstance(phase, Ended) else None

    def has_ended(self, job_id: int) -> bool:
        """Whether nothing will become of the job any more; looks at the records alone."""
        return record_has_ended(self.fold, job_id)

    def reason(self, job: Job) -> str | None:
        """Why the job is where it is; None where nothing is to be said, or known."""
        told = self.observed_reasons.get(str(job.id))
        if isinstance(job.phase, Ended):
            return job.phase.reason
        if isinstance(job.phase, Stopping):
            return told or job.phase.why
        return self._waits_for(job, told) if isinstance(job.phase, Queued) else None

    def _waits_for(self, job: Job, told: str | None) -> str | None:
        if job.wish.cancelled_at is not None:
            return CANCELLED_BY_USER
        if job.wish.held:
            return HELD_BY_USER
        if job.begin_at is not None and job.begin_at > self.now:
            return RETRY_DELAY if isinstance(job.phase, Queued) and job.phase.begin_at == job.begin_at else BEGIN_TIME
        if self.daemon_runs and told is not None:
            return told
        if job.spec.needs is not None and not self._needs_are_met(job):
            return DEPENDENCY
        return None if self.daemon_runs else DAEMON_DOWN

    def _needs_are_met(self, job: Job) -> bool:
        from gflowctl import needs

        return needs.are_met(self, job)

    def elapsed(self, job: Job) -> float | None:
        """How many seconds it has run, or ran; None when it never did."""
        began = started_at(job)
        if began is None:
            return None
        return max(0.0, (job.phase.ended_at if isinstance(job.phase, Ended) else self.now) - began)

    def time_left(self, job: Job) -> float | None:
        """Seconds until its time limit; None without one, or when it is not running."""
        if job.spec.time_limit is None or not isinstance(job.phase, Running):
            return None
        return max(0.0, job.spec.time_limit - (self.elapsed(job) or 0.0))


def record_has_ended(fold: Fold, job_id: int) -> bool:
    """Whether the job's records say that it is over: it has ended for good, or was cancelled while queued."""
    phase, wish = fold.of("phase").get(job_id), fold.of("wish").get(job_id)
    if phase is not None and phase["is"] != "queued":
        return bool(phase["is"] == "ended") and not _is_wanted_again(phase, wish)
    return wish is not None and wish.get("cancelled_at") is not None


def _is_wanted_again(ended: Mapping[str, Any], wish: Mapping[str, Any] | None) -> bool:
    """Whether a job that has ended was asked for once more (`gflowctl requeue`), which the daemon has not seen yet."""
    return wish is not None and wish.get("requeued", 0) >= _attempt_of(ended) and wish.get("cancelled_at") is None


def _attempt_of(ended: Mapping[str, Any]) -> int:
    return int((ended.get("run") or ended).get("attempt", 1))


def state(job: Job) -> str:
    """One of `model.STATES`; a queued job with a cancel wish is cancelled already, since nothing will start it."""
    if isinstance(job.phase, Queued) and job.wish.cancelled_at is not None:
        return CANCELLED
    return job.state


def is_waiting(job: Job) -> bool:
    """Whether it is queued or held."""
    return state(job) in (QUEUED, HELD)


def started_at(job: Job) -> float | None:
    """When its command began; None before that."""
    if isinstance(job.phase, Ended):
        return job.phase.started_at
    if isinstance(job.phase, Running | Stopping) and job.phase.started is not None:
        return job.phase.started.at
    return None


def ended_at(job: Job) -> float | None:
    """When it was over; None before that."""
    if isinstance(job.phase, Ended):
        return job.phase.ended_at
    return job.wish.cancelled_at if isinstance(job.phase, Queued) else None


def exit_status(job: Job) -> int:
    """What `wait` ends with for a job that has ended."""
    found, phase = state(job), job.phase
    if found == CANCELLED or not isinstance(phase, Ended):
        return STATUS_CANCELLED
    if found == TIMEOUT:
        return STATUS_TIMEOUT
    if found == FINISHED:
        return 0
    if phase.reason == OUT_OF_MEMORY:
        return STATUS_OUT_OF_MEMORY
    if phase.signal is not None:
        return SIGNALLED + phase.signal
    return phase.exit_code or 1


def session(job: Job) -> str | None:
    """The name of its tmux session, whether or not it is still there."""
    run = job.run
    return session_name(job.id, run.attempt) if run is not None and run.executor == TMUX else None


def attempt(job: Job) -> int:
    """The present or last attempt, from 1."""
    if isinstance(job.phase, Queued):
        return job.phase.attempt
    if isinstance(job.phase, Ended):
        return job.phase.last_attempt
    return job.phase.run.attempt


def file_name(job: Job, pattern: str | None) -> str | None:
    """The file that one of the job's patterns means."""
    if pattern is None:
        return None
    return patterns.expand(pattern, job_id=job.id, name=job.spec.name, user=job.spec.user)


def log_path(place: State, job: Job, number: int) -> str:
    """Where the output of an attempt goes, or went."""
    return file_name(job, job.spec.output) or place.job_log(job.id, number)


def is_terminal_log(job: Job, past: Ended | None = None) -> bool:
    """Whether the log of its last attempt, or of a `past` one, has a tmux session's line ends."""
    run = job.run if past is None else past.run
    return job.spec.output is None and run is not None and run.executor == TMUX
