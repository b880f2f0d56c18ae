"""Whether new jobs may be queued, and what their specs become: whose they are, and when, is as it is."""

from __future__ import annotations

from gflowd.core.admission import dependency_targets, queue_limits, rights, spec_contents
from gflowd.core.errors import Refused
from gflowd.core.job.records import SPEC
from gflowd.core.request import deadlines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowd.core.accounting.quotas import Quotas
    from gflowd.core.admission.criteria import Criteria
    from gflowd.core.admission.known_jobs import KnownJobs
    from gflowd.core.admission.requester import Requester
    from gflowd.core.job.model import Spec

LARGEST_TOTAL = 32 << 20  # bytes of the records of one user's jobs in the snapshot, which everybody reads whole


def judged(spec: Spec, known: KnownJobs, criteria: Criteria) -> Spec:
    """The new `spec`, stamped with who asks and when, as it is written. `known` knows the jobs that came with it.
    Raises `Refused`.
    """
    requester = criteria.requester
    spec_contents.check(spec)
    spec_contents.check_series(spec)
    made = spec_contents.settled(spec, criteria.limits)
    deadlines.check(made, criteria.now)
    rights.check_priority(requester, criteria.policy, made.priority)
    spec_contents.check_urls(criteria.policy, made.notify)
    if made.needs is not None:
        dependency_targets.check(made.needs, made.family, known, criteria.past)
    if made.redone_from is not None and known.knows(made.redone_from):
        raw = known.records.of(SPEC)[known.spec_of(made.redone_from)]
        rights.check_owner(requester, raw, made.redone_from)
    return made


def check_numbers(new: Sequence[tuple[Spec, int]], known: KnownJobs, quotas: Quotas, criteria: Criteria) -> None:
    """Raises `Refused` if so many jobs of these specs may not be queued, or could never run. `known` is without
    them.
    """
    for spec, _ in new:
        queue_limits.check_size(quotas, spec)
    requester = criteria.requester
    most = None if requester.is_operator else criteria.policy.max_jobs_per_user
    if most is None and not quotas.limit("max_queued_jobs"):
        return
    queued = known.queued()
    queue_limits.check_queued(quotas, new, queued)
    has, more = queued.get(f"user:{requester.name}", 0), sum(size for _, size in new)
    if most is not None and has + more > most:
        raise Refused(f"{requester.name} has {has} jobs queued, {more} more would exceed max_jobs_per_user = {most}")


def check_weight(more: int, known: KnownJobs, requester: Requester) -> None:
    """Raises `Refused` where the specs of one user would take too much of the snapshot, by so many bytes `more`."""
    name = requester.name
    if more > 0 and not requester.is_operator and known.weights().get(f"user:{name}", 0) + more > LARGEST_TOTAL:
        raise Refused(
            f"the jobs of {name}, with those that ended of late, would take more than {LARGEST_TOTAL >> 20} MiB of the "
            "queue; ended ones leave it with time"
        )
