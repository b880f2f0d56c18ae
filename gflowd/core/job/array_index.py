"""Which spec each job id belongs to: its own, or that of its array or sweep. Mutable; pure."""

from __future__ import annotations

from bisect import bisect_right, insort

from gflowd.core.job import arrays

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from gflowd.core.job.arrays import Family


class ArrayIndex:
    """The arrays among the spec records, by their first ids."""

    __slots__ = ("_sizes", "_starts", "families")

    def __init__(self) -> None:
        self.families: dict[int, Family] = {}
        self._starts: list[int] = []
        self._sizes: dict[int, int] = {}

    def note(self, spec_id: int, spec: Mapping[str, Any] | None) -> None:
        """Adds a spec record, or removes it (None)."""
        raw = None if spec is None else spec.get("family")
        if raw is None:
            if self.families.pop(spec_id, None) is not None:
                self._starts.remove(spec_id)
                del self._sizes[spec_id]
            return
        if spec_id not in self.families:
            insort(self._starts, spec_id)
        self.families[spec_id] = arrays.from_json(raw)
        self._sizes[spec_id] = arrays.size(self.families[spec_id])

    def ids(self, spec_id: int) -> range:
        """The ids of all jobs of a spec."""
        return range(spec_id, spec_id + self._sizes.get(spec_id, 1))

    def spec_of(self, job_id: int) -> int:
        """The id of the spec that `job_id` has."""
        array_id = self.array_of(job_id)
        return job_id if array_id is None else array_id

    def array_of(self, job_id: int) -> int | None:
        """The array that `job_id` is an element of."""
        place = bisect_right(self._starts, job_id) - 1
        if place < 0:
            return None
        start = self._starts[place]
        return start if job_id < start + self._sizes[start] else None


def of(specs: Mapping[int, Mapping[str, Any]]) -> ArrayIndex:
    """That of all spec records."""
    made = ArrayIndex()
    for job_id, raw in specs.items():
        if "family" in raw:
            made.note(job_id, raw)
    return made
