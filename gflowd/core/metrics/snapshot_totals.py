"""What has ended and is still in the snapshot, so that the totals of the history and this are all that ever ended.

Mutable: counts only what has changed since it last looked.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from gflowd.core.accounting.ended_totals import Tally
from gflowd.core.job.records import ATTEMPT, PHASE, SPEC, WISH

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from typing import Any

    Record = Mapping[str, Any]
    Records = Callable[[str], Mapping[Any, Any]]


class _Noted(NamedTuple):
    spec: Record
    wish: Record | None
    ended: Record


class SnapshotTally:
    """`tally`: as of the last `look`."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._noted: dict[int | str, _Noted] = {}

    def look(self, of: Records, ended: Iterable[tuple[int, int]], elsewhere: Collection[int]) -> None:
        """Counts the jobs `ended`, each with its spec, and the earlier attempts of all jobs; not those of the specs
        that are counted `elsewhere`. `of` gives the records of a kind by id.
        """
        phases, left = of(PHASE), dict(self._noted)
        for spec_id, job_id in ended:
            if spec_id not in elsewhere:
                self._note(job_id, spec_id, phases[job_id], of, left)
        for key, spec_id, record in _attempts(of):
            if spec_id not in elsewhere:
                self._note(key, spec_id, record, of, left)
        for gone in left:
            self._drop(gone)

    def _note(self, key: int | str, spec_id: int, ended: Record, of: Records, left: dict[int | str, _Noted]) -> None:
        before = left.pop(key, None)
        if before is not None and before.ended is ended:
            return
        if before is not None:
            self._drop(key)
        wish = of(WISH).get(key if isinstance(key, int) else int(key.partition(".")[0]))
        self._noted[key] = _Noted(of(SPEC)[spec_id], wish, ended)
        self._count(key, 1)

    def _drop(self, key: int | str) -> None:
        self._count(key, -1)
        del self._noted[key]

    def _count(self, key: int | str, by: int) -> None:
        count = self.tally.job if isinstance(key, int) else self.tally.attempt
        count(*self._noted[key], by=by)


def _attempts(of: Records) -> Iterator[tuple[str, int, Record]]:
    """The records of attempts that others followed, each with its key and the spec of its job."""
    attempts = of(ATTEMPT)
    spec_ids = sorted(of(SPEC)) if attempts else []
    for key, record in attempts.items():
        place = bisect_right(spec_ids, int(key.partition(".")[0]))
        if place:
            yield key, spec_ids[place - 1], record
