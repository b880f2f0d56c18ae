"""Refuses dependencies that would make a job wait for itself, even through other jobs, arrays and names."""

from __future__ import annotations

from bisect import bisect_left

from gflowd.core.errors import Refused
from gflowd.core.job import array_task, dependencies
from gflowd.core.job.records import SPEC
from gflowd.core.queue import dependency_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any, Protocol

    from gflowd.core.admission.known_jobs import Records
    from gflowd.core.job.dependencies import Needs
    from gflowd.core.job.model import Job

    _Node = int | tuple[tuple[str, str], int]  # a spec, or a name with a user, and a place among those of that name
    # a node, the job by which it was reached, and what it leads to
    _Step = tuple[_Node, int | None, Iterator[tuple[_Node, int | None]]]

    class Jobs(Protocol):
        """The jobs there are: `known_jobs.KnownJobs`, or what gflowctl shows of a snapshot."""

        @property
        def records(self) -> Records: ...

        @property
        def families(self) -> Mapping[int, Any]: ...

        def knows(self, job_id: int) -> bool: ...

        def spec_of(self, job_id: int) -> int: ...

        def ids_of(self, spec_id: int) -> Sequence[int]: ...

        def has_ended(self, job_id: int) -> bool: ...

        def job(self, job_id: int) -> Job: ...


NOBODY = -1  # no job has this id
LONGEST_SHOWN = 8  # jobs shown of a path


def refuse(jobs: Jobs, spec_ids: Sequence[int], wanted: Needs | None, name: str | None) -> None:
    """Raises `Refused` if one of the jobs or arrays `spec_ids` would wait for itself once all of them wait for `wanted`
    and are called `name` (None: as they are). Ended jobs wait for nothing; a running job may be retried, and then
    waits again.
    """
    search = _Search(jobs, {} if name is None else dict.fromkeys(spec_ids, name))
    if wanted is not None:
        search.change(spec_ids, wanted)
    alone = wanted is None or name is not None or any(each.id is None for each in wanted.dependencies)
    groups: list[Sequence[int]] = [(spec_id,) for spec_id in spec_ids] if alone else [spec_ids]
    for group in groups:
        mine = {job_id for spec_id in group for job_id in jobs.ids_of(spec_id) if not jobs.has_ended(job_id)}
        way = dependency_paths.cycle(NOBODY, search.edges(group[0]), search.waits_for, mine)
        if way is not None:
            raise Refused(f"job {_label(jobs, way[-1])} would wait for itself ({_shown(jobs, [way[-1], *way[1:]])})")


class _Search:
    """Which spec waits for which; visits each spec once. A whole array is represented by one of its remaining elements.

    `names`: the new names, by spec, of those to be renamed.
    """

    def __init__(self, jobs: Jobs, names: Mapping[int, str]) -> None:
        self._jobs = jobs
        self._names = names
        self._edges: dict[int, tuple[int, ...]] = {}
        self._by_name: dict[tuple[str, str], list[int]] | None = None

    def waits_for(self, job_id: int) -> tuple[int, ...]:
        return () if self._jobs.has_ended(job_id) else self.edges(self._jobs.spec_of(job_id))

    def edges(self, spec_id: int) -> tuple[int, ...]:
        """The ids that a job of `spec_id` waits for."""
        if spec_id not in self._edges:
            raw = self._jobs.records.of(SPEC)[spec_id].get("needs") if self._jobs.knows(spec_id) else None
            self._edges[spec_id] = () if raw is None else self._heads(spec_id, dependencies.decode(raw))
        return self._edges[spec_id]

    def change(self, spec_ids: Iterable[int], wanted: Needs) -> None:
        """Makes these wait for `wanted` from now on."""
        self._edges.update((spec_id, self._heads(spec_id, wanted)) for spec_id in spec_ids)

    def _heads(self, spec_id: int, wanted: Needs) -> tuple[int, ...]:
        found: list[int] = []
        for each in wanted.dependencies:
            if each.id is None:
                found += (left for other in self._earlier(spec_id) for left in self._left(other))
            elif each.element or each.id not in self._jobs.families:
                found.append(each.id)
            else:
                found += self._left(each.id)
        return tuple(found)

    def _left(self, spec_id: int) -> list[int]:
        """One job of a spec that has not ended, if there is any."""
        return [job_id for job_id in self._jobs.ids_of(spec_id) if not self._jobs.has_ended(job_id)][:1]

    def _earlier(self, spec_id: int) -> list[int]:
        """The specs of the same name and user that were submitted before."""
        specs = self._jobs.records.of(SPEC)
        if self._by_name is None:
            self._by_name = {}
            for other, raw in specs.items():
                self._by_name.setdefault((self._names.get(other, raw["name"]), raw["user"]), []).append(other)
        mine = specs[spec_id]
        name = self._names.get(spec_id, mine["name"])
        return [other for other in self._by_name[name, mine["user"]] if other < spec_id]


def refuse_any(jobs: Jobs, spec_ids: Iterable[int]) -> None:
    """Raises `Refused` if one of the jobs or arrays `spec_ids`, or any that they wait for, waits for itself. Takes time
    in proportion to the jobs, whatever they are called and wait for: others may have made them so.
    """
    graph = _Graph(jobs)
    done: set[_Node] = set()
    for root in spec_ids:
        way: list[_Step] = [] if root in done else [(root, root, graph.leads_to(root))]
        places: dict[_Node, int] = {root: 0}
        while way:
            node, _, ahead = way[-1]
            step = next(ahead, None)
            if step is None:
                way.pop()
                del places[node]
                done.add(node)
                continue
            following, job_id = step
            if following in places:
                circle = [each for _, each, _ in way[places[following] :] if each is not None]
                last = job_id if circle[0] == following and job_id is not None else circle[0]
                shown = _shown(jobs, [last, *circle[1:], last])
                raise Refused(f"job {_label(jobs, last)} would wait for itself ({shown})")
            if following not in done:
                places[following] = len(way)
                way.append((following, job_id, graph.leads_to(following)))


class _Graph:
    """Which spec waits for which. All earlier jobs of a name are waited for through a node of that name and a place
    among them: so that each of many jobs of one name leads to one node, not to all others.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._named: dict[tuple[str, str], list[int]] = {}
        for spec_id, raw in jobs.records.of(SPEC).items():
            self._named.setdefault((raw["name"], raw["user"]), []).append(spec_id)
        for found in self._named.values():
            found.sort()

    def leads_to(self, node: _Node) -> Iterator[tuple[_Node, int | None]]:
        """The nodes that it waits for, each with the job by which."""
        if not isinstance(node, int):
            name, place = node
            yield from self._of_spec(self._named[name][place])
            if place:
                yield (name, place - 1), None
            return
        if not self._jobs.knows(node):
            return
        raw = self._jobs.records.of(SPEC)[node]
        needs = raw.get("needs")
        for each in () if needs is None else dependencies.decode(needs).dependencies:
            if each.id is None:
                name = raw["name"], raw["user"]
                place = bisect_left(self._named[name], node)
                if place:
                    yield (name, place - 1), None
            elif each.element or each.id not in self._jobs.families:
                if not self._jobs.has_ended(each.id):
                    yield self._jobs.spec_of(each.id), each.id
            else:
                yield from self._of_spec(each.id)

    def _of_spec(self, spec_id: int) -> Iterator[tuple[_Node, int | None]]:
        """By one job of it that has not ended, if there is any."""
        for job_id in self._jobs.ids_of(spec_id):
            if not self._jobs.has_ended(job_id):
                yield spec_id, job_id
                return


def _shown(jobs: Jobs, way: list[int]) -> str:
    words = [_label(jobs, job_id) for job_id in way]
    if len(words) > LONGEST_SHOWN:
        words[LONGEST_SHOWN - 2 : -1] = ["..."]
    return " -> ".join(words)


def _label(jobs: Jobs, job_id: int) -> str:
    return array_task.label(jobs.job(job_id))
