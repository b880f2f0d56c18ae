"""Refuses dependencies that would make a job wait for itself, through whatever other jobs, arrays and names."""

from __future__ import annotations

from gflowctl import jobs
from gflowd.core import chains, dependencies
from gflowd.core.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowctl.jobs import View
    from gflowd.core.dependencies import Needs

NOBODY = -1  # no job has this id
LONGEST_SHOWN = 8  # jobs of a way


def refuse(view: View, spec_ids: Sequence[int], wanted: Needs) -> None:
    """Raises `Refused` when one of the jobs or arrays `spec_ids`, if all of them waited for `wanted`, would wait for
    itself. Jobs that have ended wait for nothing; one that runs may be tried again, and then waits once more.
    """
    search = _Search(view)
    alone = any(each.id is None for each in wanted.dependencies)
    groups: list[Sequence[int]] = [(spec_id,) for spec_id in spec_ids] if alone else [spec_ids]
    for group in groups:
        mine = {job_id for spec_id in group for job_id in view.ids_of(spec_id) if not view.has_ended(job_id)}
        way = chains.cycle(NOBODY, search.heads(group[0], wanted), search.waits_for, mine)
        if way is not None:
            raise Refused(f"job {_label(view, way[-1])} would wait for itself ({_shown(view, [way[-1], *way[1:]])})")


class _Search:
    """Who waits for whom, each spec looked at once. An array that is waited for whole is an element that is left."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._edges: dict[int, tuple[int, ...]] = {}
        self._by_name: dict[tuple[str, str], list[int]] | None = None

    def waits_for(self, job_id: int) -> tuple[int, ...]:
        if self._view.has_ended(job_id):
            return ()
        spec_id = self._view.spec_of(job_id)
        if spec_id not in self._edges:
            raw = self._view.fold.of("spec")[spec_id].get("needs") if self._view.knows(job_id) else None
            self._edges[spec_id] = () if raw is None else self.heads(spec_id, dependencies.decode(raw))
        return self._edges[spec_id]

    def heads(self, spec_id: int, wanted: Needs) -> tuple[int, ...]:
        """The ids that a job of `spec_id` waits for by `wanted`."""
        found: list[int] = []
        for each in wanted.dependencies:
            if each.id is None:
                found += (left for other in self._earlier(spec_id) for left in self._left(other))
            elif each.element or each.id not in self._view.families:
                found.append(each.id)
            else:
                found += self._left(each.id)
        return tuple(found)

    def _left(self, spec_id: int) -> list[int]:
        """One job of a spec that has not ended, if there is any."""
        return [job_id for job_id in self._view.ids_of(spec_id) if not self._view.has_ended(job_id)][:1]

    def _earlier(self, spec_id: int) -> list[int]:
        """The specs of the same name and user that were submitted before."""
        specs = self._view.fold.of("spec")
        if self._by_name is None:
            self._by_name = {}
            for other, raw in specs.items():
                self._by_name.setdefault((raw["name"], raw["user"]), []).append(other)
        mine = specs[spec_id]
        return [other for other in self._by_name[mine["name"], mine["user"]] if other < spec_id]


def _shown(view: View, way: list[int]) -> str:
    words = [_label(view, job_id) for job_id in way]
    if len(words) > LONGEST_SHOWN:
        words[LONGEST_SHOWN - 2 : -1] = ["..."]
    return " -> ".join(words)


def _label(view: View, job_id: int) -> str:
    return jobs.label(view.job(job_id))
