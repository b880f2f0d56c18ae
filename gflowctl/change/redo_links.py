"""What redone jobs wait for: the same as the old ones, or the new jobs for those that are redone too."""

from __future__ import annotations

from gflowd.core.errors import Refused
from gflowd.core.job.dependencies import AFTER, AFTERANY, AFTERCORR, AFTEROK
from gflowd.core.job.model import FINISHED, Ended, Queued, Starting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gflowctl.view.views import View
    from gflowd.core.job.arrays import Family
    from gflowd.core.job.dependencies import Dependency, Needs


class Links:
    """Which jobs are redone. `groups`: their ids by those of their specs, ascending; `first_ids`: of the new jobs."""

    def __init__(self, view: View, groups: Mapping[int, Sequence[int]], first_ids: Mapping[int, int]) -> None:
        self._view = view
        self._groups = groups
        self._first_ids = first_ids
        self._families: dict[int, Family] = {}  # of the new jobs, by the old array
        self._new_ids = {
            old_id: first_ids[spec_id] + place for spec_id, ids in groups.items() for place, old_id in enumerate(ids)
        }

    def family(self, spec_id: int) -> Family | None:
        """The array or sweep that the new jobs are: the part of the old one that is redone."""
        old = self._view.families.get(spec_id)
        if old is None or len(self._groups[spec_id]) == len(self._view.ids_of(spec_id)):
            return old
        if spec_id not in self._families:
            from gflowctl.submit import sweeps

            self._families[spec_id] = sweeps.part(old, (job_id - spec_id for job_id in self._groups[spec_id]))
        return self._families[spec_id]

    def needs(self, spec_id: int, wanted: Needs | None) -> Needs | None:
        """Translates `wanted`, the dependencies of the jobs of `spec_id`, for the new jobs. Raises `Refused` if
        impossible.
        """
        if wanted is None:
            return None
        found = (new for each in wanted.dependencies for new in self._linked(spec_id, each))
        return wanted.replace(dependencies=tuple(dict.fromkeys(found)))

    def _linked(self, spec_id: int, each: Dependency) -> Iterable[Dependency]:
        if each.id is None:
            return (each,)
        array_id = self._view.array_of(each.id)
        if array_id is None:
            return (each.replace(id=self._new_ids.get(each.id, each.id)),)
        if each.element or each.id != array_id:
            return (each.replace(id=self._new_ids.get(each.id, each.id), element=True),)
        if each.kind == AFTERCORR and spec_id in self._view.families:
            return (self._corresponding(spec_id, each),)
        return self._of_array(array_id, each)

    def _of_array(self, array_id: int, each: Dependency) -> Iterable[Dependency]:
        """For an array that is partly redone: the new part, and the unfinished rest of the old one."""
        if array_id not in self._groups:
            return (each,)
        new = each.replace(id=self._first_ids[array_id])
        if each.kind not in (AFTEROK, AFTERANY, AFTERCORR, AFTER):
            return (new,)
        rest = (job_id for job_id in self._view.ids_of(array_id) if job_id not in self._new_ids)
        left = (job_id for job_id in rest if not self._has_come(job_id, each.kind))
        return (new, *(each.replace(id=job_id, element=True) for job_id in left))

    def _has_come(self, job_id: int, kind: str) -> bool:
        phase = self._view.phase(job_id)
        if kind == AFTER:
            return not isinstance(phase, Queued | Starting)
        return isinstance(phase, Ended) and (kind == AFTERANY or phase.state == FINISHED)

    def _corresponding(self, spec_id: int, each: Dependency) -> Dependency:
        """`aftercorr` on the array, new or old, that has the right counterpart for each new element."""
        assert each.id is not None
        old, new = self._view.families[spec_id], self.family(spec_id)
        theirs = self._view.families[each.id]
        assert new is not None
        found = [_partner(old, job_id - spec_id, theirs, each.id) for job_id in self._groups[spec_id]]
        wanted = [None if job_id is None else self._new_ids.get(job_id, job_id) for job_id in found]
        choices = [(each.id, theirs)]
        if each.id in self._groups:
            their_new = self.family(each.id)
            assert their_new is not None
            choices.insert(0, (self._first_ids[each.id], their_new))
        for array_id, family in choices:
            if [_partner(new, place, family, array_id) for place in range(len(found))] == wanted:
                return each.replace(id=array_id)
        if len(wanted) == 1 and wanted[0] is not None:
            return each.replace(kind=AFTEROK, id=wanted[0], element=True)
        raise Refused(
            f"these elements cannot keep their dependencies (aftercorr:{each.id}): also redo the same elements of "
            f"array {each.id}, or give --depends-on or --clear-dependencies"
        )


def _partner(family: Family, position: int, theirs: Family, array_id: int) -> int | None:
    """The id of the element of another array that has the same index."""
    from gflowd.core.job import arrays

    found = arrays.position_of(theirs, arrays.index_of(family, position))
    return None if found is None else array_id + found
