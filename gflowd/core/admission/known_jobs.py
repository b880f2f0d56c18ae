"""The jobs that records tell of: which there are, and how each stands. Kept up to date by whoever changes the records.

Counts how many jobs each user and project has queued only after it was asked for that, and from then on with each
change.
"""

from __future__ import annotations

from gflowd.core.job import array_index, codec, records
from gflowd.core.job.model import Queued
from gflowd.core.job.records import PHASE, SPEC, WISH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, Protocol

    from gflowd.core.job.array_index import ArrayIndex
    from gflowd.core.job.arrays import Family
    from gflowd.core.job.model import Job

    class Records(Protocol):
        """Records by kind and id, such as a folded snapshot."""

        def of(self, kind: str) -> Mapping[Any, Any]: ...


# Bytes: of a spec without anything long; of a job that is waited for, more in the scheduler's memory than in the file;
# of each element of an array, when it has ended.
LEAST_WEIGHT, OF_DEPENDENCY, OF_ELEMENT = 400, 400, 100
_LISTS = frozenset(("command", "asked", "notify", "gpu_prefer"))
_LONG = frozenset((
    "comment", "conda_env", "cwd", "error", "gpu_type", "input", "name_template", "notify_email", "output", "project",
    "submit_dir",
))  # fmt: skip


class KnownJobs:
    """The jobs of `records`. `arrays`: those among them, if that is known already. Mutable: call `note` after each
    change of the records, or make a new one.
    """

    def __init__(self, found: Records, arrays: ArrayIndex | None = None) -> None:
        self.records = found
        self._arrays = arrays
        self._queued: dict[str, int] | None = None  # by owner
        self._weights: dict[str, int] = {}  # likewise
        self._counted: dict[int, _Counted] = {}  # by spec

    @property
    def arrays(self) -> ArrayIndex:
        """The arrays and sweeps."""
        if self._arrays is None:
            self._arrays = array_index.of(self.records.of(SPEC))
        return self._arrays

    @property
    def families(self) -> Mapping[int, Family]:
        """The arrays by id."""
        return self.arrays.families

    def note(self, keys: Iterable[tuple[str, int | str]]) -> None:
        """The records of these kinds and ids have changed, come or gone."""
        for kind, key in keys:
            if kind not in (SPEC, WISH, PHASE) or not isinstance(key, int):
                continue
            if kind == SPEC:
                self._uncount(key)
                if self._arrays is not None:
                    self._arrays.note(key, self.records.of(SPEC).get(key))
                self._count(key)
            elif self._queued is not None:
                self._recount(key)

    def knows(self, job_id: int) -> bool:
        """Whether there is such a job."""
        return self.spec_of(job_id) in self.records.of(SPEC)

    def spec_of(self, job_id: int) -> int:
        """The id under which its spec is kept, if there is such a job."""
        return job_id if job_id in self.records.of(SPEC) else self.arrays.spec_of(job_id)

    def ids_of(self, spec_id: int) -> Sequence[int]:
        """The ids of all jobs of a spec."""
        raw = self.records.of(SPEC).get(spec_id)
        return (spec_id,) if raw is not None and raw.get("family") is None else self.arrays.ids(spec_id)

    def has_ended(self, job_id: int) -> bool:
        """Whether the job is over for good, or was cancelled while queued."""
        return records.is_settled(self.records.of(PHASE).get(job_id), self.records.of(WISH).get(job_id))

    def has_unended(self, user: str, name: str) -> bool:
        """Whether that user has a job of that name that has not ended."""
        return any(
            raw["name"] == name and raw["user"] == user and not all(map(self.has_ended, self.ids_of(spec_id)))
            for spec_id, raw in self.records.of(SPEC).items()
        )

    def job(self, job_id: int) -> Job:
        """The job with this id, which must exist; one that has ended and is wanted again counts as queued."""
        of, spec_id = self.records.of, self.spec_of(job_id)
        raw = of(SPEC)[spec_id]
        wish, phase = of(WISH).get(job_id), of(PHASE).get(job_id)
        array_id = spec_id if raw.get("family") is not None else None
        found = codec.element(job_id, codec.decode_spec(raw), wish, phase, array_id)
        if phase is not None and records.has_ended(phase) and records.is_wanted_again(phase, wish):
            return found.replace(phase=Queued(attempt=records.attempt_of(phase) + 1))
        return found

    def queued(self) -> Mapping[str, int]:
        """How many jobs are queued or held, by owner as in `accounting.quotas`."""
        if self._queued is None:
            self._queued = {}
            for spec_id in self.records.of(SPEC):
                self._count(spec_id)
        return self._queued

    def weights(self) -> Mapping[str, int]:
        """How many bytes the specs of the snapshot take, by owner, about."""
        self.queued()
        return self._weights

    def _count(self, spec_id: int) -> None:
        raw = self.records.of(SPEC).get(spec_id)
        if self._queued is None or raw is None:
            return
        phases, wishes, ids = self.records.of(PHASE), self.records.of(WISH), self.ids_of(spec_id)
        settled = {each for each in ids if (each in phases or each in wishes) and not self._is_queued(each)}
        self._counted[spec_id] = counted = _Counted(owners_of(raw), len(ids), settled, weight(raw, len(ids)))
        self._add(counted, len(ids) - len(settled), counted.weight)

    def _uncount(self, spec_id: int) -> None:
        if spec_id in self._counted:
            counted = self._counted.pop(spec_id)
            self._add(counted, len(counted.others) - counted.size, -counted.weight)

    def _recount(self, job_id: int) -> None:
        spec_id = self.spec_of(job_id)
        if spec_id not in self._counted:
            return
        counted = self._counted[spec_id]
        others = counted.others
        was, now = job_id in others, not self._is_queued(job_id)
        if was != now:
            (others.add if now else others.discard)(job_id)
            self._add(counted, -1 if now else 1, 0)

    def _add(self, counted: _Counted, number: int, weight: int) -> None:
        assert self._queued is not None
        for owner in counted.owners:
            self._queued[owner] = self._queued.get(owner, 0) + number
            self._weights[owner] = self._weights.get(owner, 0) + weight

    def _is_queued(self, job_id: int) -> bool:
        phase, wish = self.records.of(PHASE).get(job_id), self.records.of(WISH).get(job_id)
        return not records.is_live(phase) and not records.is_settled(phase, wish)


class _Counted:
    """How the jobs of a spec were counted: for whom, how many, which of them are not queued, and its weight."""

    __slots__ = ("others", "owners", "size", "weight")

    def __init__(self, owners: Sequence[str], size: int, others: set[int], weight: int) -> None:
        self.owners = owners
        self.size = size
        self.others = others
        self.weight = weight


def owners_of(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """As `accounting.quotas.owners`, of a record."""
    project = spec.get("project")
    return (f"user:{spec['user']}", *(() if project is None else (f"project:{project}",)))


def weight(spec: Mapping[str, Any], size: int) -> int:
    """About how many bytes the records of `size` jobs with this spec take, counting only what may be long."""
    total = LEAST_WEIGHT + OF_ELEMENT * (size - 1)
    for name, value in spec.items():
        if name in _LONG:
            total += len(value or "")
        elif name in _LISTS:
            total += sum(map(len, value or ()))
    needs, family = spec.get("needs"), spec.get("family")
    total += 0 if needs is None else OF_DEPENDENCY * len(needs.get("dependencies", ()))
    return total + (0 if family is None else len(repr(family)))
