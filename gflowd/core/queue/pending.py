"""Pending dependencies: the queued jobs that wait for others, and the results. Mutable; pure."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from gflowd.core.job import arrays, codec
from gflowd.core.job.dependencies import AFTER, AFTERCORR, AFTEROK, SINGLETON
from gflowd.core.job.model import Ended
from gflowd.core.job.records import has_ended, is_queued, may_go_on
from gflowd.core.job.retries import next_attempt
from gflowd.core.queue import dependency_rules
from gflowd.core.queue.dependency_graph import DependencyGraph
from gflowd.core.queue.dependency_rules import Never, Outcome, Satisfied
from gflowd.core.queue.singletons import Singletons

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from gflowd.core.job.array_index import ArrayIndex
    from gflowd.core.job.dependencies import Dependency, Needs
    from gflowd.core.job.model import Job
    from gflowd.core.queue.archived_jobs import Archive
    from gflowd.core.queue.job_records import JobRecords


class PendingJobs:
    """Jobs with needs, until these are met. The `archive` knows what the records no longer have."""

    def __init__(self, records: JobRecords, array_index: ArrayIndex, archive: Archive) -> None:
        self._records = records
        self._archive = archive
        self._array_index = array_index
        self._jobs: dict[int, Job] = {}  # queued jobs with needs, met or not
        self._waiting: dict[int, None] = {}
        self._lost: dict[int, float] = {}  # since when
        self._with_after: set[int] = set()
        self._with_singleton: set[int] = set()
        self._graph = DependencyGraph()
        self._singletons = Singletons()
        self._tallies: dict[int, tuple[Outcome, dict[int, Outcome]]] = {}  # of arrays that are waited for
        self._moved: set[int] = set()  # arrays whose outcome has changed

    @property
    def is_used(self) -> bool:
        """Whether there is a queued job with needs."""
        return bool(self._jobs)

    @property
    def singletons(self) -> Collection[int]:
        """The queued jobs that may have to wait for others with their name."""
        return self._with_singleton

    @property
    def heeds_starts(self) -> bool:
        """Whether a queued job waits for others to begin."""
        return bool(self._with_after)

    def enter(self, job: Job) -> bool:
        """Adds a queued job; returns whether it has to wait here."""
        self._singletons.queue(job.id, _owner(job))
        if job.spec.needs is None:
            return False
        self._wait(job)
        return True

    def start(self, job: Job) -> None:
        """A job that has resources."""
        self._singletons.start(job.id, _owner(job))

    def leave(self, job_id: int) -> None:
        """Forgets a job that is no longer queued, or whose records changed."""
        if self._jobs.pop(job_id, None) is not None:
            self._waiting.pop(job_id, None)
            self._graph.remove(job_id)
            self._with_after.discard(job_id)
            self._with_singleton.discard(job_id)
        self._lost.pop(job_id, None)
        self._singletons.leave(job_id)

    def lose(self, job_id: int, wall: float) -> None:
        """Counts a job as failed that is about to be cancelled, for those that wait for it."""
        self._lost[job_id] = wall
        self._waiting.pop(job_id, None)
        self.hear((job_id,), wall)

    def forget(self, array_id: int) -> None:
        """Forgets an array whose spec is gone."""
        self._tallies.pop(array_id, None)
        self._moved.discard(array_id)

    def is_awaited(self, job_id: int) -> bool:
        """Whether a queued job waits for this job or array, or has waited."""
        return bool(self._graph.affected(job_id))

    def doubting(self, job_id: int, *, was_live: bool) -> Iterator[int]:
        """The jobs that count on the start or end of `job_id`, although it has yet to start (again)."""
        raw = self._records.phases.get(job_id)
        if raw is not None and not is_queued(raw) and not self._comes_again(job_id, raw):
            return
        for named in {job_id, self._array_index.spec_of(job_id)}:
            for dependent in self._graph.affected(named):
                if not was_live or dependent in self._with_after:
                    yield dependent

    def recount(self, ids: Iterable[int]) -> None:
        """The records of these jobs have changed; `hear` tells the jobs that wait for their arrays."""
        if self._tallies:
            for job_id in ids:
                array_id = self._array_index.array_of(job_id)
                if array_id is not None:
                    self._count(array_id, job_id)

    def hear(self, ids: Iterable[int], wall: float) -> None:
        """These jobs have changed, and time has passed."""
        ids = list(ids)
        self.recount(ids)
        moved, self._moved = self._moved, set()
        for job_id in dict.fromkeys((*ids, *moved)):
            self._graph.hear(job_id, self._look, wall)
        self._graph.pass_time(self._look, wall)

    def news(self) -> Iterator[tuple[int, int | None]]:
        """The jobs whose waiting is over, each with None if it may start, or with the job that makes that impossible.
        The latter go on waiting until they are lost.
        """
        for job_id, verdict in self._graph.news():
            if job_id not in self._waiting:
                continue
            match verdict:
                case Satisfied():
                    self._waiting.pop(job_id)
                    yield job_id, None
                case Never(id=culprit):  # pragma: no branch -- exhaustive
                    yield job_id, abs(culprit)

    def lets_go(self, job: Job) -> bool:
        """Whether no other job of its name blocks a job whose needs are met except for `singleton`."""
        if job.id not in self._with_singleton:
            return True
        alone = self._singletons.is_alone(job.id, _owner(job))
        return isinstance(self._graph.verdict(job.id, alone=alone), Satisfied)

    def met_at(self, job_id: int) -> float | None:
        """When a job's dependencies were satisfied, if known."""
        return self._graph.met_at(job_id)

    def named(self, user: str, name: str) -> Iterator[int]:
        """The queued jobs of a user with this name."""
        return self._singletons.queued(user, name)

    def first(self, count: int) -> Iterator[int]:
        """At most `count` of the jobs that wait."""
        return islice(self._waiting, count)

    def next_time(self) -> float | None:
        """When the next wait ends without an event."""
        return self._graph.next_time()

    def _wait(self, job: Job) -> None:
        needs = job.spec.needs
        assert needs is not None
        self._jobs[job.id] = job
        self._waiting[job.id] = None
        kinds = {each.kind for each in needs.dependencies}
        if AFTER in kinds:
            self._with_after.add(job.id)
        if SINGLETON in kinds:
            self._with_singleton.add(job.id)
        self._graph.add(job.id, self._plain(job, needs), self._look, 0.0)

    def _plain(self, job: Job, needs: Needs) -> Needs:
        """With `aftercorr` as the `afterok` on a single job that it comes to."""
        return needs.replace(dependencies=tuple(self._plain_one(job, each) for each in needs.dependencies))

    def _plain_one(self, job: Job, each: Dependency) -> Dependency:
        if each.kind != AFTERCORR or each.id is None:
            return each
        theirs = None if each.element else self._array_index.families.get(each.id) or self._archive.family(each.id)
        if theirs is None or job.array_id is None or job.spec.family is None:
            return dependency_rules.corresponding(each, None, None)
        first, index = each.id, arrays.index_of(job.spec.family, job.id - job.array_id)
        position = arrays.position_of(theirs, index)
        if position is None:  # it can never be satisfied; -42 is unknown, so 42 is reported as the cause
            return each.replace(kind=AFTEROK, id=-first)
        return dependency_rules.corresponding(each, index, lambda _: first + position)

    def _look(self, dependency: Dependency) -> Outcome:
        """The outcome of what a dependency names."""
        job_id = dependency.id
        assert job_id is not None  # the graph asks nothing about `singleton`
        if job_id in self._array_index.families and not dependency.element:
            return self._tally(job_id)[0]
        if self._array_index.spec_of(job_id) not in self._records.specs:
            return self._archive.outcome(job_id, whole=not dependency.element)
        return self._one(job_id)

    def _one(self, job_id: int) -> Outcome:
        if job_id in self._lost:
            return Outcome(begun=1, begun_at=self._lost[job_id], ended=1, ended_at=self._lost[job_id])
        raw = self._records.phases.get(job_id)
        if raw is not None:
            return Outcome() if self._comes_again(job_id, raw) else dependency_rules.of(codec.decode_phase(raw))
        return Outcome()

    def _comes_again(self, job_id: int, raw: Mapping[str, Any]) -> bool:
        """Whether an ended job will be queued again: its user wants it, or only its strays delay it."""
        wish = self._records.wishes.get(job_id) or {}
        if not has_ended(raw) or not may_go_on(raw, wish):
            return False
        ended = codec.decode_phase(raw)
        assert isinstance(ended, Ended)
        if wish.get("requeued", 0) >= ended.last_attempt:
            return True
        spec = self._records.specs.get(self._array_index.spec_of(job_id))
        if not ended.lingers or spec is None or "cancelled_at" in wish:
            return False
        retry = codec.decode_spec(spec).retry
        return retry is not None and next_attempt(retry, ended, ended.last_attempt) is not None

    def _tally(self, array_id: int) -> tuple[Outcome, dict[int, Outcome]]:
        """The outcome of a whole array and of its jobs that are not just queued; computed on first use."""
        if array_id not in self._tallies:
            ids = self._array_index.ids(array_id)
            self._tallies[array_id] = Outcome(jobs=len(ids)), {}
            for job_id in ids:
                if job_id in self._records.phases or job_id in self._lost:
                    self._count(array_id, job_id)
        return self._tallies[array_id]

    def _count(self, array_id: int, job_id: int) -> None:
        if array_id in self._tallies:
            whole, parts = self._tallies[array_id]
            before, after = parts.get(job_id, Outcome()), self._one(job_id)
            parts[job_id] = after
            moved = dependency_rules.moved(whole, before, after)
            self._tallies[array_id] = moved, parts
            if _stand(moved) != _stand(whole):
                self._moved.add(array_id)


def _stand(whole: Outcome) -> tuple[bool, bool, bool]:
    """What jobs that wait for an array need to know about it."""
    return whole.begun == whole.jobs, whole.ended == whole.jobs, whole.ended > whole.finished


def _owner(job: Job) -> tuple[str, str]:
    return job.spec.user, job.spec.name
