"""The waiting room: the queued jobs that wait for others, and what becomes of them. Mutable; pure."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from gflowd.core import arrays, codec, outcomes
from gflowd.core.dependencies import AFTERCORR
from gflowd.core.dependents import Graph
from gflowd.core.model import Queued
from gflowd.core.namesakes import Namesakes
from gflowd.core.outcomes import Never, Outcome, Satisfied

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gflowd.core.dependencies import Dependency, Needs
    from gflowd.core.model import Job
    from gflowd.core.roster import Roster

LOST = Outcome(begun=1, begun_at=0.0, ended=1)


class WaitingRoom:
    """Jobs with needs, until these are met. `specs` and `phases` are the records by id, as they are now."""

    def __init__(self, roster: Roster) -> None:
        self.specs: Mapping[int, Any] = {}
        self.phases: Mapping[int, Any] = {}
        self._roster = roster
        self._jobs: dict[int, Job] = {}  # queued jobs with needs, met or not
        self._waiting: dict[int, None] = {}
        self._lost: set[int] = set()
        self._graph = Graph()
        self._namesakes = Namesakes()
        self._tallies: dict[int, tuple[Outcome, dict[int, Outcome]]] = {}  # of arrays that are waited for

    def enter(self, job: Job) -> bool:
        """A queued job; whether it has to wait here."""
        self._namesakes.queue(job.id, _owner(job))
        if job.phase != Queued():  # it has ended before: who has not been told is to wait on
            for dependent in self._graph.affected(job.id):
                if dependent in self._waiting:
                    self._wait(self._jobs[dependent])
        if job.spec.needs is None:
            return False
        self._wait(job)
        return True

    def start(self, job: Job) -> None:
        """A job that has resources."""
        self._namesakes.start(job.id, _owner(job))

    def leave(self, job_id: int) -> None:
        """A job that is queued no more, or whose records changed."""
        if self._jobs.pop(job_id, None) is not None:
            self._waiting.pop(job_id, None)
            self._graph.remove(job_id)
        self._lost.discard(job_id)
        self._namesakes.leave(job_id)

    def lose(self, job_id: int, wall: float) -> None:
        """A job that is about to be cancelled; those that wait for it hear of that at once."""
        self._lost.add(job_id)
        self._waiting.pop(job_id, None)
        self.hear((job_id,), wall)

    def hear(self, ids: Iterable[int], wall: float) -> None:
        """Something has become of these jobs; some time has passed."""
        heard = dict.fromkeys(ids)
        for job_id in list(heard):
            array_id = self._roster.array_of(job_id)
            if array_id is not None:
                self._count(array_id, job_id)
                heard[array_id] = None
        for job_id in heard:
            self._graph.hear(job_id, self._look, wall)
        self._graph.pass_time(self._look, wall)

    def news(self) -> Iterator[tuple[int, int | None]]:
        """The jobs whose waiting is over: with None they may start, else with the job that makes it for ever."""
        for job_id, verdict in self._graph.news():
            if job_id not in self._waiting:
                continue
            match verdict:
                case Satisfied():
                    self._waiting.pop(job_id)
                    yield job_id, None
                case Never(id=culprit):
                    yield job_id, culprit

    def lets_go(self, job: Job) -> bool:
        """Whether no other job of its name is in the way of one whose needs are met but for `singleton`."""
        needs = job.spec.needs
        if needs is None or all(each.id is not None for each in needs.dependencies):
            return True
        alone = self._namesakes.is_alone(job.id, _owner(job))
        return isinstance(self._graph.verdict(job.id, alone=alone), Satisfied)

    def first(self, count: int) -> Iterator[int]:
        """At most `count` of the jobs that wait."""
        return islice(self._waiting, count)

    def next_time(self) -> float | None:
        """When some wait is over by itself."""
        return self._graph.next_time()

    def _wait(self, job: Job) -> None:
        assert job.spec.needs is not None
        self._jobs[job.id] = job
        self._waiting[job.id] = None
        self._graph.add(job.id, self._plain(job, job.spec.needs), self._look, 0.0)

    def _plain(self, job: Job, needs: Needs) -> Needs:
        """With `aftercorr` as the `afterok` on a single job that it comes to."""
        return needs.replace(dependencies=tuple(self._plain_one(job, each) for each in needs.dependencies))

    def _plain_one(self, job: Job, each: Dependency) -> Dependency:
        if each.kind != AFTERCORR or each.id is None:
            return each
        theirs = self._roster.families.get(each.id)
        if theirs is None or job.array_id is None or job.spec.family is None:
            return outcomes.corresponding(each, None, None)
        position = arrays.position_of(theirs, arrays.index_of(job.spec.family, job.id - job.array_id))
        first = each.id
        return outcomes.corresponding(each, 0, lambda _: None if position is None else first + position)

    def _look(self, dependency: Dependency) -> Outcome:
        """What is known of what a dependency names."""
        job_id = dependency.id
        if job_id is None:
            return outcomes.UNKNOWN
        if job_id in self._roster.families and not dependency.element:
            return self._tally(job_id)[0]
        return self._one(job_id)

    def _one(self, job_id: int) -> Outcome:
        if job_id in self._lost:
            return LOST
        raw = self.phases.get(job_id)
        if raw is not None:
            return outcomes.of(codec.decode_phase(raw))
        known = job_id in self.specs or self._roster.array_of(job_id) is not None
        return Outcome() if known else outcomes.UNKNOWN

    def _tally(self, array_id: int) -> tuple[Outcome, dict[int, Outcome]]:
        """The outcome of a whole array and those of its jobs that are not just queued; counted when first asked for."""
        if array_id not in self._tallies:
            ids = self._roster.ids(array_id)
            self._tallies[array_id] = Outcome(jobs=len(ids)), {}
            for job_id in ids:
                if job_id in self.phases or job_id in self._lost:
                    self._count(array_id, job_id)
        return self._tallies[array_id]

    def _count(self, array_id: int, job_id: int) -> None:
        if array_id in self._tallies:
            whole, parts = self._tallies[array_id]
            before, after = parts.get(job_id, Outcome()), self._one(job_id)
            parts[job_id] = after
            self._tallies[array_id] = outcomes.moved(whole, before, after), parts


def _owner(job: Job) -> tuple[str, str]:
    return job.spec.user, job.spec.name
