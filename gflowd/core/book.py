"""The scheduler's book: every job that is queued or live, kept in order as the snapshot changes. Mutable; pure.

Ended jobs are counted out: the snapshot still has them, and they are looked up there where others depend on them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Any

from gflowd.core import codec, outcomes, reasons, schedule
from gflowd.core.dependencies import AFTERCORR
from gflowd.core.dependents import Graph
from gflowd.core.model import Ended, Job, Queued
from gflowd.core.namesakes import Namesakes
from gflowd.core.outcomes import Never, Outcome, Satisfied

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gflowd.core.dependencies import Dependency, Needs


class Book:
    """Queued and live jobs by id; `queue()` has those that may start, in scheduling order."""

    def __init__(self) -> None:
        self.queued: dict[int, Job] = {}
        self.live: dict[int, Job] = {}
        self.lost: dict[int, int] = {}  # queued jobs that can never start, and the job whose end that is due to
        self.reopened: dict[int, Job] = {}  # ended jobs that are to be queued again
        self.lingering: dict[int, Job] = {}  # ended jobs whose GPUs some process still has
        self._order: list[tuple[float, int, int]] = []
        self._waiting: set[int] = set()  # for other jobs
        self._begins: dict[int, float] = {}
        self._cancelled: set[int] = set()
        self._graph = Graph()
        self._namesakes = Namesakes()
        self._specs: Mapping[int, Any] = {}
        self._phases: Mapping[int, Any] = {}

    def queue(self) -> Iterator[Job]:
        """The queued jobs that may start as far as their user and other jobs are concerned, first to start first."""
        for *_, job_id in self._order:
            job = self.queued[job_id]
            if job.spec.needs is None or self._is_free(job, job.spec.needs):
                yield job

    def waiting(self, depth: int) -> dict[int, str]:
        """The reason of jobs that wait for others, of at most `depth` of them."""
        return {job_id: reasons.DEPENDENCY for job_id, _ in zip(self._waiting, range(depth), strict=False)}

    def edges(self, wall: float) -> tuple[float, ...]:
        """The times still to come at which a job may start: begin times, delays after others, ascending."""
        edges = [begin for begin in self._begins.values() if begin > wall]
        after = self._graph.next_time()
        return tuple(sorted(edges if after is None else [*edges, after]))

    def unwanted(self) -> list[Job]:
        """The queued jobs whose cancellation is wished."""
        return [self.queued[job_id] for job_id in self._cancelled]

    def get(self, job_id: int) -> Job | None:
        """A queued or live job."""
        return self.queued.get(job_id) or self.live.get(job_id)

    def refresh(
        self, ids: Iterable[int], specs: Mapping[int, Any], wishes: Mapping[int, Any], phases: Mapping[int, Any]
    ) -> None:
        """Takes in the records of `ids` anew; an id without a spec is forgotten."""
        self._specs, self._phases = specs, phases
        for job_id in ids:
            self._forget(job_id)
            if job_id in specs and not _is_over(wishes.get(job_id), phases.get(job_id)):
                self._add(codec.job(job_id, specs[job_id], wishes.get(job_id), phases.get(job_id)))

    def settle_needs(self, ids: Iterable[int], wall: float) -> None:
        """What has become of `ids` is told to the jobs that wait for them, and to those that wait for these."""
        for job_id in ids:
            self._graph.hear(job_id, self._look, wall)
        self._graph.pass_time(self._look, wall)
        for job_id, verdict in self._graph.news():
            job = self.queued.get(job_id)
            if job is None or job.spec.needs is None:
                continue
            match verdict:
                case Satisfied():
                    self._waiting.discard(job_id)
                    self._line_up(job)
                case Never(id=culprit) if job.spec.needs.auto_cancel:
                    self.lost[job_id] = culprit
                    self._graph.hear(job_id, self._look, wall)
                case Never():
                    pass

    def _add(self, job: Job) -> None:
        match job.phase:
            case Queued():
                self._queue(job)
            case Ended(run=run, lingers=lingers):
                if lingers:
                    self.lingering[job.id] = job
                elif job.wish.requeued >= (1 if run is None else run.attempt):
                    self.reopened[job.id] = job
            case _:
                self.live[job.id] = job
                self._namesakes.start(job.id, _owner(job))

    def _queue(self, job: Job) -> None:
        self.queued[job.id] = job
        self._namesakes.queue(job.id, _owner(job))
        if job.wish.cancelled_at is not None:
            self._cancelled.add(job.id)
        if job.spec.needs is not None:
            self._waiting.add(job.id)
            self._graph.add(job.id, _plain(job.spec.needs), self._look, 0.0)
        else:
            self._line_up(job)
        for dependent in self._graph.affected(job.id) if job.phase != Queued() else ():  # queued again: not ended
            waiter = self.queued.get(dependent)
            if waiter is not None and waiter.spec.needs is not None and dependent in self._waiting:
                self._graph.add(dependent, _plain(waiter.spec.needs), self._look, 0.0)

    def _line_up(self, job: Job) -> None:
        if job.wish.held:
            return
        insort(self._order, schedule.order(job))
        if job.begin_at is not None:
            self._begins[job.id] = job.begin_at

    def _forget(self, job_id: int) -> None:
        for table in (self.live, self.lingering, self._begins, self.lost, self.reopened):
            table.pop(job_id, None)
        self._cancelled.discard(job_id)
        self._waiting.discard(job_id)
        self._graph.remove(job_id)
        self._namesakes.leave(job_id)
        job = self.queued.pop(job_id, None)
        if job is None:
            return
        place = bisect_left(self._order, schedule.order(job))
        if place < len(self._order) and self._order[place][-1] == job_id:
            del self._order[place]

    def _is_free(self, job: Job, needs: Needs) -> bool:
        """Whether no job of its name is in the way of one that was ready as if it were alone."""
        if all(each.id is not None for each in needs.dependencies):
            return True
        alone = self._namesakes.is_alone(job.id, _owner(job))
        return isinstance(self._graph.verdict(job.id, alone=alone), Satisfied)

    def _look(self, dependency: Dependency) -> Outcome:
        """What is known of the job that a dependency names."""
        job_id = dependency.id
        if job_id is None or job_id not in self._specs:
            return outcomes.UNKNOWN
        if job_id in self.lost:
            return Outcome(begun=1, begun_at=0.0, ended=1)
        raw = self._phases.get(job_id)
        return Outcome() if raw is None else outcomes.of(codec.decode_phase(raw))


def _is_over(wish: Mapping[str, Any] | None, phase: Mapping[str, Any] | None) -> bool:
    """Whether a job's records say that nothing will become of it any more, without making a job of them."""
    requeued = wish is not None and "requeued" in wish
    return phase is not None and phase["is"] == "ended" and not requeued and not phase.get("lingers", False)


def _owner(job: Job) -> tuple[str, str]:
    return job.spec.user, job.spec.name


def _plain(needs: Needs) -> Needs:
    """With `aftercorr` as the `afterok` that it is for a job in no array."""
    return needs.replace(
        dependencies=tuple(
            outcomes.corresponding(each, None, None) if each.kind == AFTERCORR else each for each in needs.dependencies
        )
    )
