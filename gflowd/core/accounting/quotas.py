"""The limits of users and projects: the quotas in force, what runs against them, what may be queued.

A quota has an id, the same in the configuration and in the snapshot's `quota` records: `user:NAME`, `project:CODE`,
`default-user` or `default-project`. Its value has some of `FIELDS`: a number, or None for explicitly no limit. For
what it does not mention, another quota counts.
"""

from __future__ import annotations

from gflowd.core.job.value_base import Value
from gflowd.core.syntax.plurals import count, noun

inf = float("inf")  # gflowctl imports this at its start, and need not import `math`

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from gflowd.core.job.model import Spec

    Records = Mapping[str, Mapping[str, int | None]]

FIELDS = ("max_running_jobs", "max_running_gpus", "max_queued_jobs")


class Quota(Value):
    """What a user or project may have at once; None is no limit."""

    __slots__ = FIELDS

    def __init__(
        self,
        *,
        max_running_jobs: int | None = None,
        max_running_gpus: int | None = None,
        max_queued_jobs: int | None = None,
    ) -> None:
        self.max_running_jobs: Final = max_running_jobs
        self.max_running_gpus: Final = max_running_gpus
        self.max_queued_jobs: Final = max_queued_jobs  # held ones too

    def lacks_jobs(self, jobs: int) -> bool:
        """Whether no job may start while this many run."""
        return self.max_running_jobs is not None and jobs >= self.max_running_jobs

    def lacks_gpus(self, wanted: int, gpus: int) -> bool:
        """Whether a job with this many GPUs may not start while those are in use. One without GPUs always may."""
        return self.max_running_gpus is not None and wanted > 0 and gpus + wanted > self.max_running_gpus


class Quotas:
    """The quotas in force: `configured` are the file's, `records` those that were set at run time, both by id.

    For each field, the first of these that mentions it counts: the owner's own at run time, the owner's own in the
    file, the default at run time, the default in the file.
    """

    __slots__ = ("_layers",)

    def __init__(self, configured: Records, records: Records) -> None:
        self._layers = (records, configured)

    def of(self, owner: str) -> Quota:
        """The quota of `user:NAME` or `project:CODE`."""
        default = f"default-{owner.partition(':')[0]}"
        said: dict[str, int | None] = {}
        for key in (default, owner):
            for layer in reversed(self._layers):
                said.update(layer.get(key, ()))
        return Quota(**{field: said.get(field) for field in FIELDS})

    def ids(self) -> set[str]:
        """The ids of all configured quotas, including defaults."""
        return {quota_id for layer in self._layers for quota_id in layer}

    def limit(self, *fields: str) -> bool:
        """Whether one of `fields` is limited for any owner."""
        return any(
            quota.get(field) is not None for layer in self._layers for quota in layer.values() for field in fields
        )

    def too_large(self, spec: Spec) -> str | None:
        """Why a job could not even run alone, or None."""
        if not any(self._layers):
            return None
        for owner in owners(spec):
            quota, who = self.of(owner), _who(owner)
            if quota.lacks_jobs(0):
                return f"{who} may run no job (max_running_jobs = 0)"
            if quota.lacks_gpus(spec.gpus, 0):
                gpus = quota.max_running_gpus or 0
                return f"{who} may use {count(gpus, 'GPU')} at most (max_running_gpus = {gpus}), {spec.gpus} asked for"
        return None

    def reached(self, spec: Spec, running: Mapping[str, tuple[int, int]]) -> list[str]:
        """Which quotas keep a job from starting beside what is `running`, jobs and GPUs by owner."""
        found = []
        for owner in owners(spec):
            quota, (jobs, gpus) = self.of(owner), running.get(owner, (0, 0))
            if quota.lacks_jobs(jobs):
                most = count(quota.max_running_jobs or 0, "job")
                found.append(f"{_who(owner)} runs {jobs} of {most} (max_running_jobs)")
            if quota.lacks_gpus(spec.gpus, gpus):
                most = count(quota.max_running_gpus or 0, "GPU")
                found.append(f"{_who(owner)} uses {gpus} of {most} (max_running_gpus), {spec.gpus} asked for")
        return found

    def queued_refusal(self, spec: Spec, new: int, queued: Mapping[str, int]) -> str | None:
        """Why `new` more jobs of `spec` may not be queued, or None; `queued` counts those that are, held ones too,
        by owner.
        """
        for owner in owners(spec):
            limit, has = self.of(owner).max_queued_jobs, queued.get(owner, 0)
            if limit is not None and has + new > limit:
                more = "another" if new == 1 else f"{new} more"
                queued_jobs = f"{has} {noun(has, 'job')} queued"
                return f"{_who(owner)} has {queued_jobs}, {more} would exceed max_queued_jobs = {limit}"
        return None


def _who(owner: str) -> str:
    return owner.replace(":", " ", 1)


def owners(spec: Spec) -> tuple[str, ...]:
    """The owners whose quotas a job must satisfy: its user, and its project if it has one."""
    user = f"user:{spec.user}"
    return (user,) if spec.project is None else (user, f"project:{spec.project}")


class Ledger:
    """The usage that counts against quotas, and until when. Mutable. A shared job counts each of its GPUs in full."""

    __slots__ = ("_is_needed", "_limits", "_quotas", "_runs", "_used")

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._limits: dict[str, Quota] = {}
        self._used: dict[str, tuple[int, int]] = {}  # jobs and GPUs now, by owner
        self._runs: dict[str, list[tuple[float, bool, int]]] = {}  # end, whether that is certain, GPUs
        self._is_needed = quotas.limit("max_running_jobs", "max_running_gpus")

    @property
    def is_needed(self) -> bool:
        """Whether anything running is limited."""
        return self._is_needed

    def admits(self, spec: Spec, at: float | None = None, *, certain: bool = False) -> bool:
        """Whether all quotas hold if this job starts too: now, or `at` a later time as far as is known or expected.
        Over a quota that was lowered, a job without GPUs takes none of them.
        """
        if not self._is_needed:
            return True
        return all(self._has_room(owner, spec.gpus, *self._uses(owner, at, certain)) for owner in owners(spec))

    def can_ever(self, spec: Spec) -> bool:
        """Whether all quotas hold if this job is the only one."""
        return not self._is_needed or all(self._has_room(owner, spec.gpus, 0, 0) for owner in owners(spec))

    def start(self, spec: Spec, end: float = inf, *, certain: bool = True) -> None:
        """Counts a job as running until then."""
        if not self._is_needed:
            return
        for owner in owners(spec):
            jobs, gpus = self._used.get(owner, (0, 0))
            self._used[owner] = jobs + 1, gpus + spec.gpus
            self._runs.setdefault(owner, []).append((end, certain, spec.gpus))

    def admits_beside(self, spec: Spec, other: Spec, end: float, at: float, *, certain: bool) -> bool:
        """Whether `spec` could still start `at` a time if `other` ran from now until `end` (certain: for certain)."""
        shared = set(owners(spec)).intersection(owners(other)) if self._is_needed else ()
        for owner in shared:
            jobs, gpus = self._uses(owner, at, certain)
            if not self._has_room(owner, spec.gpus, jobs + (end > at), gpus + (other.gpus if end > at else 0)):
                return False
        return True

    def _uses(self, owner: str, at: float | None, certain: bool) -> tuple[int, int]:  # noqa: FBT001 -- of two callers
        if at is None:
            return self._used.get(owner, (0, 0))
        there = [gpus for end, sure, gpus in self._runs.get(owner, ()) if end > at or (certain and not sure)]
        return len(there), sum(there)

    def _has_room(self, owner: str, wanted: int, jobs: int, gpus: int) -> bool:
        if owner not in self._limits:
            self._limits[owner] = self._quotas.of(owner)
        limit = self._limits[owner]
        return not (limit.lacks_jobs(jobs) or limit.lacks_gpus(wanted, gpus))
