"""All jobs as a user sees them: which exist; `reasons` says why they wait. Never writes.

Reads the snapshot, and behind it the history on request.
"""

from __future__ import annotations

import os
import time

from gflowctl.view import jobs, selection
from gflowd.core.errors import BadUsage, GflowError, Refused
from gflowd.core.job import codec
from gflowd.core.job.model import FINISHED, QUEUED, STATES, TMUX, Begun, Ended, Job, Queued, Running, Suspended
from gflowd.core.job.records import (
    ATTEMPT,
    LIMIT,
    PHASE,
    SPEC,
    WISH,
    attempt_of,
    has_ended,
    is_live,
    is_settled,
    is_wanted_again,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gflowctl.context import Context
    from gflowctl.view.progress import Progress, Seen
    from gflowctl.view.selection import Records
    from gflowd.core.job.array_index import ArrayIndex
    from gflowd.core.job.arrays import Family
    from gflowd.core.job.model import Phase, Spec
    from gflowd.core.syntax.clocks import Clock
    from gflowd.storage.history_queries import Choice
    from gflowd.storage.record_log import Fold

MOST_LOGS = 50  # of live jobs, in which progress bars are looked for: with more a list would take noticeably longer


class View:
    """The jobs of one folded snapshot at one moment, and what the daemon said about them. `fold`: the snapshot alone;
    `records`: its records, and behind them what was brought from the history.
    """

    def __init__(self, context: Context, fold: Fold) -> None:
        self.context = context
        self.fold = fold
        self.records: Records = fold
        self.now = time.time()
        self._mono = time.monotonic()
        self._boot: str | None = None
        self.observed = context.observed
        self.reasons, self.expected_starts = self.observed.reasons, self.observed.expected_starts
        self._ranks: dict[int, int] | None = None
        self._daemon_runs: bool | None = None
        self._array_index: ArrayIndex | None = None
        self._counted = -1  # specs that the roster was made of
        self._specs: dict[int, Spec] = {}  # of arrays, which share them
        self._told: dict[int, str] | None = None  # by array
        self._progress: dict[int, Progress | None] = {}
        self._looks_for_bars: bool | None = None

    @property
    def clock(self) -> Clock:
        """Prints times."""
        return self.context.clock

    @property
    def daemon_runs(self) -> bool:
        if self._daemon_runs is None:
            self._daemon_runs = self.context.daemon_runs
        return self._daemon_runs

    @property
    def array_index(self) -> ArrayIndex | None:
        """The arrays, if there are any."""
        if self._counted != len(self.records.of(SPEC)):
            self._counted = len(self.records.of(SPEC))
            self._array_index = selection.array_index(self.records)
        return self._array_index

    @property
    def families(self) -> Mapping[int, Family]:
        """The arrays by id."""
        return {} if self.array_index is None else self.array_index.families

    def array_of(self, job_id: int) -> int | None:
        """The array that it is an element of."""
        return None if self.array_index is None else self.array_index.array_of(job_id)

    def spec_of(self, job_id: int) -> int:
        """The id under which its spec is kept."""
        return job_id if self.array_index is None else self.array_index.spec_of(job_id)

    def ids_of(self, spec_id: int) -> Sequence[int]:
        """The ids of all jobs of a spec: one, or an array's."""
        return (spec_id,) if self.array_index is None else self.array_index.ids(spec_id)

    def ids(self) -> list[int]:
        """Every job's id, ascending."""
        return selection.ids(self.records, self.array_index)

    def owned(self, ids: Iterable[int], users: Collection[str]) -> list[int]:
        """Those of `ids` whose jobs belong to one of `users`; decodes none."""
        specs, spec_of = self.records.of(SPEC), self.spec_of
        return [job_id for job_id in ids if specs[spec_of(job_id)]["user"] in users]

    def knows(self, job_id: int) -> bool:
        """Whether there is such a job; loads it from the history if needed."""
        if self.spec_of(job_id) in self.records.of(SPEC):
            return True
        if not self.has_history:
            return False
        from gflowctl.view import history

        self.records = history.bring(self.context.state, self.records, job_id)
        return self.spec_of(job_id) in self.records.of(SPEC)

    @property
    def has_history(self) -> bool:
        """Whether any job has ever left the snapshot."""
        return os.path.exists(self.context.state.history)

    def check_changeable(self, job_id: int) -> None:
        """Raises `Refused` for a job that can no longer have a wish."""
        if self.spec_of(job_id) not in self.fold.of(SPEC):
            raise Refused("is in the history; gflowctl redo queues a new job like it")

    def recall(self, choice: Choice) -> None:
        """Loads from the history what is to be listed."""
        from gflowctl.view import history

        try:
            self.records = history.bring_chosen(self.context.state, self.records, choice)
        except GflowError as error:
            self.context.store.notes.append(f"showing only jobs that are still in the queue: {error}")

    def recall_fallen(self, ids: Iterable[int]) -> None:
        """Loads from the history the jobs that were cancelled because of `ids`."""
        if self.has_history:
            from gflowctl.view import history

            self.records = history.bring_fallen(self.context.state, self.records, ids)

    def recall_named(self, text: str) -> None:
        """Loads from the history what a list of jobs, or a list of dependencies, names."""
        if self.has_history:
            from gflowctl.view import history

            self.records = history.bring_named(self.context.state, self.records, self.context.user, text)

    @property
    def has_series(self) -> bool:
        """Whether any job of the snapshot is a run of a series."""
        return any("repeat" in raw for raw in self.fold.of(SPEC).values())

    def select(self, texts: Iterable[str], more: Iterable[int] = ()) -> list[int]:
        """The ids that JOBS arguments name, of jobs and `more`. Raises as `job_ids.select`."""
        text = ",".join(texts)
        self.recall_named(text)
        return selection.select(text, self.records, self.array_index, self.context.user, more)

    def one(self, text: str) -> int:
        """The id of the one job that a JOB argument names. Raises `BadUsage` if it names several."""
        found = self.select([text])
        if len(found) == 1:
            return found[0]
        if found[0] in self.families:
            raise BadUsage(f"{text} is an array; give one of its elements, e.g. {jobs.label(self.job(found[0]))}")
        raise BadUsage("give one job")

    def job(self, job_id: int) -> Job:
        """The job with this id, which must exist."""
        of, array_index = self.records.of, self.array_index
        array_id = None if array_index is None else array_index.array_of(job_id)
        if array_id is None:
            spec = codec.decode_spec(of(SPEC)[job_id])
        elif array_id in self._specs:
            spec = self._specs[array_id]
        else:
            spec = self._specs[array_id] = codec.decode_spec(of(SPEC)[array_id])
        wish, phase = of(WISH).get(job_id), of(PHASE).get(job_id)
        if (spec.exclusive or spec.all_memory) and not (phase is not None and has_ended(phase)):
            spec = self._on_the_machine(spec)
        job = codec.element(job_id, spec, wish, phase, array_id)
        if phase is not None and has_ended(phase) and is_wanted_again(phase, wish):
            return job.replace(phase=self.phase(job_id))
        return job

    def _on_the_machine(self, spec: Spec) -> Spec:
        """A spec that asks for all of the machine, with as much as there is by now."""
        from gflowd.core.job import whole_machine

        cpus, memory_mb = self.observed.cpus, self.observed.memory_mb
        return spec if cpus is None or memory_mb is None else whole_machine.resolved(spec, cpus, memory_mb)

    def max_concurrent(self, job: Job) -> int | None:
        """How many of its array may run at a time, from `limit` or the submission."""
        if job.array_id is None or job.spec.family is None:
            return None
        record = self.records.of(LIMIT).get(job.array_id)
        limit: int | None = job.spec.family.max_concurrent if record is None else record["max_concurrent"]
        return limit

    def exit_status(self, job_id: int) -> int:
        """As `exit_status` of the job, which has ended; does not decode finished jobs."""
        phase = self.records.of(PHASE).get(job_id) or {}
        return 0 if phase.get("state") == FINISHED else jobs.exit_status(self.job(job_id))

    def phase(self, job_id: int) -> Phase:
        """Its phase; if it has ended and will be run again, the phase that the daemon will give it."""
        raw = self.records.of(PHASE).get(job_id)
        if raw is None:
            return Queued()
        if has_ended(raw) and is_wanted_again(raw, self.records.of(WISH).get(job_id)):
            return Queued(attempt=attempt_of(raw) + 1)
        return codec.decode_phase(raw)

    def past(self, job_id: int, number: int) -> Ended | None:
        """How an earlier attempt ended; None if that is not known."""
        raw = self.records.of(ATTEMPT).get(f"{job_id}.{number}")
        if raw is None:  # the last one is recorded when the daemon begins the next
            raw = self.records.of(PHASE).get(job_id)
            if raw is None or not has_ended(raw) or attempt_of(raw) != number:
                return None
        phase = codec.decode_phase(raw)
        return phase if isinstance(phase, Ended) else None

    def has_ended(self, job_id: int) -> bool:
        """Whether the job is over for good; reads only the records."""
        return record_has_ended(self.records, job_id)

    @property
    def ranks(self) -> Mapping[int, int]:
        """The places of jobs in line, from 1; of an array, that of its first element."""
        if self._ranks is None:
            self._ranks = {job_id: rank for rank, job_id in enumerate(self.observed.line.order, 1)}
        return self._ranks

    def told_of(self, job: Job) -> str | None:
        """The reason that the daemon gave; for an array, it gives only that of its first waiting element."""
        told = self.reasons.get(job.id)
        if told or job.array_id is None or not isinstance(job.phase, Queued):
            return told
        if self._told is None:
            self._told = {}
            for job_id in sorted(self.reasons):
                array_id = self.array_of(job_id)
                if array_id is not None and not self.records.of(PHASE).get(job_id):
                    self._told.setdefault(array_id, self.reasons[job_id])
        return self._told.get(job.array_id)

    def elapsed(self, job: Job) -> float | None:
        """How many seconds it has run, or ran, without suspensions; None if it never did. While it runs, by the clock
        of its limit.
        """
        began = jobs.started_at(job)
        if began is None:
            return None
        phase = job.phase
        started = phase.started if isinstance(phase, Begun) else None
        if started is not None and started.identity.boot == self._boot_id():
            until = phase.since_mono if isinstance(phase, Suspended) else self._mono
            return max(0.0, until - started.mono - jobs.paused(job))
        until = phase.since_at if isinstance(phase, Suspended) else self.now
        return max(0.0, (phase.ended_at if isinstance(phase, Ended) else until) - began - jobs.paused(job))

    def _boot_id(self) -> str:
        if self._boot is None:
            from gflowd.effects.daemon import boot_id

            self._boot = boot_id()
        return self._boot

    def waits_for_input(self, job: Job) -> bool:
        """Whether it runs in a terminal and its program has been waiting there for somebody to type."""
        if not isinstance(job.phase, Running) or job.phase.run.executor != TMUX:
            return False
        identity = job.phase.started.identity
        if identity.boot != self._boot_id():
            return False
        from gflowd.effects import input_wait

        return input_wait.waits_for_input(identity.pid, identity.start)

    def progress(self, job: Job, *, singly: bool = False) -> Progress | None:
        """How far it says it is, or a progress bar in its log; of an ended job what it said last. None if that is not
        known. Bars are looked for only while few jobs run, or for one that is shown `singly`.
        """
        if job.id not in self._progress:
            from gflowctl.view import progress

            bars = isinstance(job.phase, Begun) and (singly or self._bars)
            seen = None if self._is_out_of_reach(job) else progress.seen(self.context.state, job, log=bars)
            self._progress[job.id] = None if seen is None else self._judged(job, seen)
        return self._progress[job.id]

    def _is_out_of_reach(self, job: Job) -> bool:
        """Whether it is on a cluster that does not answer: its directory there may hang."""
        name = None if job.run is None else job.run.cluster
        return name is not None and bool((self.observed.clusters.get(name) or {}).get("unreachable"))

    @property
    def _bars(self) -> bool:
        if self._looks_for_bars is None:
            self._looks_for_bars = sum(map(is_live, self.records.of(PHASE).values())) <= MOST_LOGS
        return self._looks_for_bars

    def _judged(self, job: Job, seen: Seen) -> Progress:
        """With the end that can be expected by it."""
        from gflowctl.view import progress

        phase = job.phase
        if not isinstance(phase, Running):
            return progress.Progress(seen)
        from gflowd.core.progress import expected_end

        paused, same_boot = phase.pauses, phase.started.identity.boot == self._boot_id()
        resumed = self._mono - paused.last_mono if paused.count and same_boot else None
        age = max(0.0, self.now - seen.at)
        since = expected_end.run_since(age, paused=paused.seconds, since_pause=resumed)
        found = expected_end.of(seen.fraction, ran=self.elapsed(job) or 0.0, since=since, bar=seen.bar)
        return progress.Progress(seen, None if found.left is None else self.now + found.left, found.doubt)

    def time_left(self, job: Job) -> float | None:
        """Seconds until its time limit; None without a limit, or if it is not running."""
        if job.spec.time_limit is None or not isinstance(job.phase, Running | Suspended):
            return None
        return max(0.0, job.spec.time_limit - (self.elapsed(job) or 0.0))


def record_has_ended(records: Records, job_id: int) -> bool:
    """Whether the job's records say that it is over: it has ended for good, or was cancelled while queued."""
    return is_settled(records.of(PHASE).get(job_id), records.of(WISH).get(job_id))


def by_spec(view: View, ids: Iterable[int]) -> dict[int, list[int]]:
    """`ids` by the ids of their specs."""
    found: dict[int, list[int]] = {}
    for job_id in ids:
        found.setdefault(view.spec_of(job_id), []).append(job_id)
    return found


def numbers(view: View, ids: Iterable[int]) -> dict[str, int]:
    """How many jobs are in each state. Does not decode jobs that never started."""
    wishes, phases, found = view.records.of(WISH), view.records.of(PHASE), dict.fromkeys(STATES, 0)
    for job_id in ids:
        untouched = job_id not in phases and job_id not in wishes
        found[QUEUED if untouched else jobs.state(view.job(job_id))] += 1
    return found


def counts(view: View, ids: Iterable[int]) -> list[str]:
    """How many jobs are in the states that occur: `97 queued`, `3 running`."""
    return [f"{number} {each}" for each, number in numbers(view, ids).items() if number]
