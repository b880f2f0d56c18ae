"""Whether jobs can wait for what they are to wait for: that it exists, has the elements, and does not wait for them."""

from __future__ import annotations

from collections import ChainMap

from gflowd.core.errors import Refused
from gflowd.core.job import array_ids, arrays
from gflowd.core.job.dependencies import AFTERCORR
from gflowd.core.job.records import SPEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from gflowd.core.admission.criteria import Past
    from gflowd.core.admission.known_jobs import KnownJobs, Records
    from gflowd.core.job.arrays import Family
    from gflowd.core.job.dependencies import Dependency, Needs


def check(needs: Needs, family: Family | None, known: KnownJobs, past: Past) -> None:
    """Raises `Refused` if a job is named that does not exist, or `aftercorr` names an array that lacks a counterpart
    for an element of `family`.
    """
    for each in needs.dependencies:
        if each.id is not None:
            _check_one(each, each.id, family, known, past)


def _check_one(each: Dependency, job_id: int, family: Family | None, known: KnownJobs, past: Past) -> None:
    theirs = None
    if known.knows(job_id):
        theirs = known.families.get(job_id)
    else:
        found = past(job_id)
        if found is None:
            raise Refused(f"no job {job_id}")
        spec_id, raw = found
        if spec_id == job_id and raw.get("family") is not None:
            theirs = arrays.from_json(raw["family"])
    if each.kind == AFTERCORR and not each.element and theirs is not None and family is not None:
        check_counterparts(job_id, theirs, family)


def check_counterparts(array_id: int, theirs: Family, family: Family) -> None:
    """Raises `Refused` if the array `theirs` lacks the index of an element of `family`."""
    missing = array_ids.select(theirs, arrays.ranges_of(family))[1]
    if missing:
        raise Refused(f"aftercorr:{array_id}: no job {array_ids.show(array_id, missing)}")


class Overlaid:
    """Records with some specs more, or others in their place. Copies none."""

    def __init__(self, below: Records, specs: dict[int, Any]) -> None:
        self._below = below
        self._specs: Mapping[int, Any] = ChainMap(specs, below.of(SPEC))  # type: ignore[arg-type]  # it changes none

    def of(self, kind: str) -> Mapping[Any, Any]:
        return self._specs if kind == SPEC else self._below.of(kind)
