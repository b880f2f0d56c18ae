"""Queues new jobs like old ones, all in one commit: what is the same, and what is linked anew."""

from __future__ import annotations

import time
from functools import cache

from gflowctl.change.redo_links import Links
from gflowctl.machine import quotas
from gflowctl.submit import capture, cluster_choice, enqueue
from gflowctl.submit.enqueue import New
from gflowctl.view import dependencies, dependency_request, jobs, roles, views
from gflowd.core.errors import Refused
from gflowd.core.job import reasons
from gflowd.core.job.dependencies import NOTHING
from gflowd.core.job.model import FAILURES
from gflowd.core.job.records import PHASE, has_ended
from gflowd.core.job.value_base import Value
from gflowd.core.queue import dependency_paths
from gflowd.core.request import deadlines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Final

    from gflowctl.change.wishes import Chosen
    from gflowctl.context import Context
    from gflowctl.view.dependency_request import DependencyRequest
    from gflowd.core.job.arrays import Family
    from gflowd.core.job.dependencies import Needs
    from gflowd.core.job.model import Job, Spec
    from gflowd.storage.store import Commit


class Anew(Value):
    """What is different. `changed`: the spec of a job that was named, as it is wanted; `cascade`: with what was
    cancelled because of these jobs; `cleared`: without dependencies, unless it is to wait for others.
    """

    __slots__ = ("cascade", "changed", "cleared", "held", "waits_for")

    def __init__(
        self,
        *,
        changed: Callable[[Spec, Needs | None], Spec] = lambda spec, _: spec,
        waits_for: DependencyRequest | None = None,
        cascade: bool = False,
        cleared: bool = False,
        held: bool = False,
    ) -> None:
        self.changed: Final = changed
        self.waits_for: Final = waits_for
        self.cascade: Final = cascade
        self.cleared: Final = cleared
        self.held: Final = held


def queue(context: Context, chosen: Chosen, anew: Anew) -> list[New]:
    """Commits them with consecutive ids; there must be a snapshot. None where none is chosen. Raises `Refused`."""

    def decide(commit: Commit) -> list[New]:
        made: list[New] = []
        view = views.View(context, commit.fold())
        named = sorted(chosen.select(view))
        if chosen.is_by_options:
            named = [job_id for job_id in named if roles.is_own(view, job_id)]
        if not named:
            return made
        for job_id in named:
            roles.check_own(view, job_id, jobs.label(view.job(job_id)))
        if anew.cascade:
            named = sorted([*named, *_given_up(view, named)])
        old_ids = [*named, *(_fallen(view, named) if anew.cascade else ())]
        groups = {spec_id: sorted(ids) for spec_id, ids in views.by_spec(view, old_ids).items()}
        first_ids = {spec_id: commit.allocate(len(ids)) for spec_id, ids in groups.items()}
        links = Links(view, groups, first_ids)
        wanted = None if anew.waits_for is None else dependency_request.asked(anew.waits_for, view)
        named_specs = set(map(view.spec_of, named))
        git_state = cache(capture.git_state)
        for spec_id, new_id in first_ids.items():
            old = view.job(groups[spec_id][0])
            changed = spec_id in named_specs
            is_free = changed and (wanted is not None or anew.cleared)
            needs = None if is_free else links.needs(spec_id, old.spec.needs)
            spec = _repeated(view, old, links.family(spec_id), needs)
            spec = spec.replace(git=git_state(spec.cwd))
            if changed:
                spec = anew.changed(spec, wanted)
                dependency_request.check_elements(wanted or NOTHING, spec.family, view.records)
            spec = _checked(context, spec, old, view.now)
            new = New(new_id, spec, held=changed and anew.held)
            new.put(commit)
            made.append(new)
        quotas.check(context, view.fold, [(new.spec, len(new.ids)) for new in made])
        return made

    made = context.change(decide, renumbered=enqueue.renumbered)
    if made:
        context.ring(b"q")
    return made


def _given_up(view: views.View, ids: Iterable[int]) -> list[int]:
    """The elements that were cancelled because too many of their array, including some of `ids`, had failed."""
    phases, named = view.records.of(PHASE), set(ids)
    failed = {view.array_of(job_id) for job_id in named if phases.get(job_id, {}).get("state") in FAILURES}
    mates = {job_id for array_id in failed if array_id is not None for job_id in view.ids_of(array_id)}
    reason = {job_id: phases.get(job_id, {}).get("reason") or "" for job_id in mates - named}
    return sorted(job_id for job_id, why in reason.items() if reasons.name(why) == reasons.MAX_FAILURES)


def _fallen(view: views.View, ids: Iterable[int]) -> list[int]:
    """The jobs that were cancelled because of `ids`, each after the jobs that it waited for."""
    view.recall_fallen(ids)
    because: dict[str, list[int]] = {}
    for job_id, phase in view.records.of(PHASE).items():
        if has_ended(phase) and (reason := phase.get("reason")) is not None:
            because.setdefault(reason, []).append(job_id)

    def fallen(job_id: int) -> list[int]:
        """A reason names an array by the id of its first element; the dependencies of the cancelled jobs tell which
        element.
        """
        found: list[int] = []
        for named in {job_id, view.spec_of(job_id)}:
            why = reasons.dependency_failed(named)
            victims = because.pop(why, [])
            mine = [victim for victim in victims if _waited_for(view, victim, job_id)]
            if len(mine) < len(victims):
                because[why] = sorted(set(victims).difference(mine))
            found += mine
        return found

    return dependency_paths.cascade(ids, fallen, lambda job_id: dependencies.of(view, job_id).ids)


def _waited_for(view: views.View, victim: int, job_id: int) -> bool:
    return any(
        each.id == job_id or (each.id is not None and not each.element and job_id in view.ids_of(each.id))
        for each in dependencies.of(view, victim).dependencies
    )


def _repeated(view: views.View, old: Job, family: Family | None, wanted: Needs | None) -> Spec:
    spec = old.spec
    return spec.replace(
        user=view.context.user,
        uid=view.context.uid,
        submitted_at=time.time(),
        redone_from=old.id,
        relay=None,
        pty=False,
        append=spec.append or (spec.output or spec.error) is not None,  # in these is what it repeats, too
        batch=None,
        family=family,
        needs=wanted if spec.repeat is None else None,  # a run only waits for the one before
        begin_at=None if spec.repeat is not None or (spec.begin_at or 0.0) <= view.now else spec.begin_at,
        deadline=None if spec.deadline is None or spec.deadline <= view.now else spec.deadline,
        repeat=None,
    )


def _checked(context: Context, spec: Spec, old: Job, now: float) -> Spec:
    state = context.state
    if old.spec.uid != context.uid:
        raise Refused(f"job {jobs.label(old)} belongs to {old.spec.user}")
    if not capture.take_in_use(state.environment(spec.env, spec.uid)):
        raise Refused(f"the environment of job {jobs.label(old)} is no longer kept; submit the job again")
    if spec.script is not None and not capture.take_in_use(state.script(spec.script, spec.uid)):
        raise Refused(f"the script of job {jobs.label(old)} is no longer kept; submit the job again")
    try:
        deadlines.check(spec, now)
        return cluster_choice.checked(spec, context, context.limits)
    except Refused as error:
        raise Refused(f"job {jobs.label(old)}: {error}") from None
