"""The dependencies of jobs: judged from the snapshot, and in words. The daemon decides."""

from __future__ import annotations

from gflowd.core.job import dependencies
from gflowd.core.job.dependencies import AFTER, AFTERANY, AFTERCORR, AFTERNOTOK, AFTEROK, Needs
from gflowd.core.job.model import Ended, Queued
from gflowd.core.job.records import PHASE, SPEC, WISH
from gflowd.core.queue import dependency_rules
from gflowd.core.queue.dependency_rules import SATISFIED, Outcome, Satisfied
from gflowd.core.syntax import job_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from collections.abc import Set as AbstractSet

    from gflowctl.view.views import View
    from gflowd.core.job.dependencies import Dependency
    from gflowd.core.job.model import Job
    from gflowd.core.queue.dependency_rules import Verdict

MANY = 8  # dependencies whose states are listed one by one
NOBODY = -1  # no job has this id
CANCELLED = Outcome(begun=1, ended=1)
WANTED = {AFTERCORR: "to finish, element by element", AFTERANY: "to end", AFTERNOTOK: "to fail", AFTER: "to start"}
WANTED_BY_DEFAULT = "to finish"


def are_met(view: View, job: Job) -> bool:
    """Whether all dependencies of the job are satisfied, as far as the snapshot tells."""
    return isinstance(verdict(view, job), Satisfied)


def verdict(view: View, job: Job, lost: Collection[int] = (), stuck: AbstractSet[int] = frozenset()) -> Verdict:
    """Whether the job's dependencies are or can be satisfied, as far as the snapshot tells, if the jobs `lost` were
    cancelled and those `stuck` could never run.
    """
    wanted = job.spec.needs

    def look(dependency: Dependency) -> Outcome:
        if dependency.id is None:
            return Outcome(jobs=_namesakes(view, job))
        each = _plain(view, job, dependency)
        if each.id is None or not view.knows(each.id):
            return dependency_rules.UNKNOWN
        ids = (each.id,) if each.element or each.id not in view.families else view.ids_of(each.id)
        return dependency_rules.UNKNOWN if stuck and not stuck.isdisjoint(ids) else _all(view, ids, lost)

    return SATISFIED if wanted is None else dependency_rules.judge(wanted, look, view.now)


def _plain(view: View, job: Job, each: Dependency) -> Dependency:
    """With `aftercorr` replaced by the `afterok` on a single job that it stands for."""
    theirs = None if each.id is None or each.element else view.families.get(each.id)
    if each.kind != AFTERCORR or theirs is None or job.array_id is None or job.spec.family is None:
        return each
    from gflowd.core.job import arrays

    position = arrays.position_of(theirs, arrays.index_of(job.spec.family, job.id - job.array_id))
    found = NOBODY if position is None or each.id is None else each.id + position
    return each.replace(kind=AFTEROK, id=found, element=True)


def _one(view: View, job_id: int) -> Outcome:
    phase = view.phase(job_id)
    return CANCELLED if isinstance(phase, Queued) and view.has_ended(job_id) else dependency_rules.of(phase)


def _all(view: View, ids: Sequence[int], lost: Collection[int]) -> Outcome:
    """The outcome of all these jobs; those without records have not begun."""
    phases, wishes = view.records.of(PHASE), view.records.of(WISH)
    whole, before = Outcome(jobs=len(ids)), Outcome()
    for job_id in ids:
        if job_id in lost:
            whole = dependency_rules.moved(whole, before, CANCELLED)
        elif job_id in phases or job_id in wishes:
            whole = dependency_rules.moved(whole, before, _one(view, job_id))
    return whole


def _namesakes(view: View, job: Job) -> int:
    """How many jobs of the same name and user are live, or were queued earlier."""
    found = 0
    named = (
        job_id
        for spec_id, spec in view.records.of(SPEC).items()
        if spec["name"] == job.spec.name and spec["user"] == job.spec.user
        for job_id in view.ids_of(spec_id)
    )
    for job_id in named:
        if job_id != job.id:
            phase = view.phase(job_id)
            over = isinstance(phase, Ended) or view.has_ended(job_id)
            found += not over and (job_id < job.id or not isinstance(phase, Queued))
    return found


def words(view: View, job: Job) -> str:
    """`all of 41 to finish (running), 40 to end (finished)`."""
    wanted = job.spec.needs or dependencies.NOTHING
    if len(wanted.dependencies) > MANY:
        parts = _grouped(view, wanted)
    else:
        parts = [f"{_target(view, each)}{_state(view, each)}" for each in wanted.dependencies]
    several = f"{wanted.mode} of " if len(wanted.dependencies) > 1 else ""
    stays = "" if wanted.auto_cancel else "; stays queued if that becomes impossible"
    return f"{several}{', '.join(parts)}{stays}"


def _target(view: View, each: Dependency) -> str:
    return "other jobs of this name to end" if each.id is None else f"{_label(view, each)} {_wanted(each)}"


def _label(view: View, each: Dependency) -> str:
    from gflowctl.view import jobs

    assert each.id is not None
    if view.array_of(each.id) is None or (each.id in view.families and not each.element):
        return str(each.id)
    return jobs.label(view.job(each.id))


def _wanted(each: Dependency) -> str:
    delay = f" and {each.delay:g} s to pass" if each.delay else ""
    return f"{WANTED.get(each.kind, WANTED_BY_DEFAULT)}{delay}"


def _state(view: View, each: Dependency) -> str:
    from gflowctl.view import jobs, views

    if each.id is None:
        return ""
    if each.id in view.families and not each.element:
        return f" ({', '.join(views.counts(view, view.ids_of(each.id)))})"
    known = view.knows(each.id)
    return f" ({jobs.state(view.job(each.id)) if known else 'gone'})"


def _grouped(view: View, wanted: Needs) -> list[str]:
    groups: dict[str, list[int]] = {}
    for each in wanted.dependencies:
        if each.id is not None:
            groups.setdefault(_wanted(each), []).append(each.id)
    alone = [_target(view, each) for each in wanted.dependencies if each.id is None]
    return [*(f"{job_ids.show(ids)} {what}" for what, ids in groups.items()), *alone]


def of(view: View, job_id: int) -> Needs:
    """What a job waits or waited for."""
    raw = view.records.of(SPEC)[view.spec_of(job_id)].get("needs")
    return dependencies.NOTHING if raw is None else dependencies.decode(raw)
