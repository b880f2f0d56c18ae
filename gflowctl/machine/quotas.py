"""Quotas for queue_limits and `gflowctl quota`: what is in force, and how many jobs each owner has."""

from __future__ import annotations

from gflowctl.view import selection, views
from gflowd.core.accounting.quotas import Quotas, owners
from gflowd.core.admission import queue_limits
from gflowd.core.job.records import PHASE, QUOTA, SPEC, WISH, is_live

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gflowctl.context import Context
    from gflowd.core.job.model import Spec
    from gflowd.storage.record_log import Fold


class Usage:
    """How many jobs a user or project has: running ones (which have resources), their GPUs, queued and held ones."""

    __slots__ = ("queued_jobs", "running_gpus", "running_jobs")

    def __init__(self) -> None:
        self.running_jobs = self.running_gpus = self.queued_jobs = 0


def in_force(context: Context, fold: Fold | None) -> Quotas:
    """The quotas of the configuration and of the snapshot, if there are any in that."""
    return Quotas(context.settings.get("quotas") or {}, {} if fold is None else fold.of(QUOTA))


def check(context: Context, fold: Fold | None, wanted: Sequence[tuple[Spec, int]]) -> None:
    """Raises `Refused` if jobs of these specs, in these numbers, may not be queued in addition to those of `fold`, or
    can never run. `fold` may be None if no quota was set and none limits queued jobs.
    """
    quotas = in_force(context, fold)
    for spec, _ in wanted:
        queue_limits.check_size(quotas, spec)
    limited = set() if fold is None else {
        owner for spec, _ in wanted for owner in owners(spec) if quotas.of(owner).max_queued_jobs is not None
    }  # fmt: skip
    if fold is not None and limited:
        queued = {owner: used.queued_jobs for owner, used in usage(fold, limited).items()}
        queue_limits.check_queued(quotas, wanted, queued)


def usage(fold: Fold, of: Collection[str] | None = None) -> dict[str, Usage]:
    """The usage by quota id (`user:ada`); only of these owners, or of all with a job that has not ended."""
    array_index = selection.array_index(fold)
    phases, wishes = fold.of(PHASE), fold.of(WISH)
    found: dict[str, Usage] = {}
    for spec_id, spec in fold.of(SPEC).items():
        whose = [f"user:{spec['user']}", *((f"project:{code}",) if (code := spec.get("project")) else ())]
        whose = [owner for owner in whose if of is None or owner in of]
        if not whose:
            continue
        queued = running = 0
        for job_id in (spec_id,) if array_index is None else array_index.ids(spec_id):
            phase = phases.get(job_id)
            if is_live(phase):
                running += 1
            elif (phase is None and job_id not in wishes) or not views.record_has_ended(fold, job_id):
                queued += 1
        if queued or running:
            for owner in whose:
                used = found.setdefault(owner, Usage())
                used.queued_jobs += queued
                used.running_jobs += running
                used.running_gpus += running * spec.get("gpus", 0)
    return found
