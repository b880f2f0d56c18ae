"""Whether the spec of jobs may become another: which fields, in which states, and who may."""

from __future__ import annotations

from gflowd.core.admission import dependency_targets, queue_limits, rights, spec_contents
from gflowd.core.errors import Refused
from gflowd.core.job import array_task, overrides
from gflowd.core.job.records import ENDED, LIVE, PHASE, WISH, is_queued, phase_name
from gflowd.core.request import deadlines, update_rules, validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from gflowd.core.accounting.quotas import Quotas
    from gflowd.core.admission.criteria import Criteria
    from gflowd.core.admission.dependency_cycles import Jobs
    from gflowd.core.admission.known_jobs import KnownJobs
    from gflowd.core.admission.policy import Policy
    from gflowd.core.admission.requester import Requester
    from gflowd.core.job.model import Job, Spec

TAKEN = ("gpus", "gpu_memory_mb", "shared", "cpus", "memory_mb")  # fields of what a running job occupies
FIXED = ("user", "uid", "submitted_at", "once")  # whatever a request says of them
OF_DEADLINE = ("deadline", "time_limit", "begin_at")


def judged(spec_id: int, wanted: Spec, known: KnownJobs, criteria: Criteria, with_new: KnownJobs | None = None) -> Spec:
    """The spec of the job or array `spec_id` as it is written when it is to be `wanted`. Raises `Refused` with what is
    to follow the job's label and a colon; does not look for circles. `with_new` knows the new jobs of the request, too.
    """
    ids = known.ids_of(spec_id)
    job = foremost(known, ids)
    old, state = job.spec, job.wanted_state
    new = wanted.replace(**{name: getattr(old, name) for name in FIXED})
    waits = state in update_rules.WAITING
    new = spec_contents.settled(new, validation.of_update(criteria.limits, waits=waits))
    changed = update_rules.changed(old, new)
    spec_contents.check(new, changed)
    update_rules.check_changed(old, new, state)
    check_elements(known, ids, old, new)
    if "overrides" in changed:
        _check_overrides(known, ids, old, new)
    _check_rights(criteria.requester, criteria.policy, old, new, changed, waits=waits)
    if waits and not {*changed}.isdisjoint(OF_DEADLINE):
        deadlines.check(new, criteria.now)
    if "needs" in changed and new.needs is not None:
        dependency_targets.check(new.needs, new.family, with_new or known, criteria.past)
    return new


def foremost(jobs: Jobs, ids: Sequence[int]) -> Job:
    """The first element of an array that waits, or else runs: while some wait, all may be changed."""
    found = jobs.job(ids[0])
    if len(ids) > 1:
        left = [job_id for job_id in ids if not jobs.has_ended(job_id)]
        waiting = (job_id for job_id in left if is_queued(jobs.records.of(PHASE).get(job_id)))
        found = jobs.job(next(waiting, left[0] if left else ids[0]))
    return found


def check_elements(jobs: Jobs, ids: Sequence[int], old: Spec, new: Spec) -> None:
    """Raises `Refused` for a change that would misstate the resources, or lose the log, of an element of `ids` that
    runs or has ended: they share a spec.
    """
    if any(getattr(new, name) != getattr(old, name) for name in TAKEN):
        _refuse_beside(jobs, ids, LIVE, "resources")
    if _files(new) != _files(old):
        _refuse_beside(jobs, ids, (*LIVE, ENDED), "files")


def _files(spec: Spec) -> tuple[str | None, ...]:
    """The fields that determine where all elements write."""
    patterns = (spec.output, spec.error)
    by_name = spec.name_template is None and any("%x" in each for each in patterns if each is not None)
    return (*patterns, spec.name if by_name else None)


def _refuse_beside(jobs: Jobs, ids: Sequence[int], phases: tuple[str, ...], what: str) -> None:
    records = jobs.records.of(PHASE)
    found = next((each for each in ids if phase_name(records.get(each)) in phases), None)
    if found is not None:
        element = jobs.job(found)
        raise Refused(
            f"its {what} cannot be changed, {array_task.label(element)} is {element.wanted_state}; "
            "gflowctl redo the elements that wait with other ones, and cancel these"
        )


def _check_overrides(known: KnownJobs, ids: Sequence[int], old: Spec, new: Spec) -> None:
    """Raises `Refused` if the parameters of an element change that no longer waits."""
    assert old.family is not None
    assert new.family is not None
    phases, wishes = known.records.of(PHASE), known.records.of(WISH)
    for job_id in ids:
        if job_id not in phases and job_id not in wishes:
            continue
        position = job_id - ids[0]
        before, after = (dict(overrides.at(each.overrides, position)) for each in (old.family, new.family))
        job = known.job(job_id)
        if before != after and not job.is_waiting:
            raise Refused(f"--param cannot be changed: {array_task.label(job)} is {job.wanted_state}")


def _check_rights(
    requester: Requester, policy: Policy, old: Spec, new: Spec, changed: Sequence[str], *, waits: bool
) -> None:
    """Raises `Refused` for what is only an operator's, or only the owner's."""
    if "notify" in changed:
        spec_contents.check_urls(policy, new.notify)
    if "priority" in changed:
        rights.check_priority(requester, policy, new.priority)
    if not waits and "time_limit" in changed and is_raised(old.time_limit, new.time_limit):
        rights.check_operator(requester, rights.RAISE_LIMIT)
    theirs = [name for name in changed if name in rights.OF_OWNER or name == "overrides"]
    if theirs and not requester.is_root and old.uid is not None and not rights.is_owner(requester, _whose(old)):
        raise Refused(f"only {old.user} may change its {theirs[0].replace('_', '-')}")


def _whose(spec: Spec) -> Mapping[str, Any]:
    return {"uid": spec.uid, "user": spec.user}


def is_raised(before: float | None, after: float | None) -> bool:
    """Whether a time limit becomes longer; None is none."""
    return before is not None and (after is None or after > before)


def check_quota(quotas: Quotas, old: Spec, new: Spec) -> None:
    """Raises `Refused` if a job asks for more GPUs than before, and for more than its quota."""
    if new.gpus > old.gpus:
        queue_limits.check_size(quotas, new)
