"""What jobs wait for: read from options, judged as far as the snapshot tells, and in words. The daemon decides."""

from __future__ import annotations

from gflowd.core import dependencies, joblist, outcomes
from gflowd.core.dependencies import AFTER, AFTERANY, AFTERNOTOK, ALL, ANY, Needs
from gflowd.core.errors import BadUsage, Refused
from gflowd.core.model import Ended, Queued
from gflowd.core.outcomes import Outcome, Satisfied

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.jobs import View
    from gflowd.core.dependencies import Dependency, Resolve
    from gflowd.core.model import Job
    from gflowd.snapshot import Fold

MANY = 8  # dependencies beyond which their states are not told one by one
CANCELLED = Outcome(begun=1, ended=1)
WANTED = {AFTERANY: "to end", AFTERNOTOK: "to fail", AFTER: "to start"}
WANTED_BY_DEFAULT = "to finish well"


def asked(args: argparse.Namespace, fold: Fold, user: str) -> Needs:
    """What the options of a job ask for; `@` is a submission of `user`. Raises `Refused`."""
    resolve = _resolver(fold, user)
    parts = []
    if args.depends_on is not None:
        parts.append(dependencies.parse(args.depends_on, resolve))
    if args.depends_on_all is not None:
        parts.append(dependencies.parse_list(args.depends_on_all, ALL, resolve))
    if args.depends_on_any is not None:
        parts.append(dependencies.parse_list(args.depends_on_any, ANY, resolve))
    if args.singleton:
        parts.append(dependencies.ALONE)
    return dependencies.join(*parts).replace(auto_cancel=not args.no_auto_cancel)


def _resolver(fold: Fold, user: str) -> Resolve:
    specs = fold.of("spec")
    known = sorted(specs)
    mine = [job_id for job_id in known if specs[job_id]["user"] == user]

    def resolve(word: str) -> list[int]:
        try:
            return joblist.select(word, known, mine)
        except BadUsage:
            raise Refused(f"no job {word}") from None

    return resolve


def are_met(view: View, job: Job) -> bool:
    """Whether nothing that the job waits for is still to come, as far as the snapshot tells."""
    wanted = job.spec.needs

    def look(dependency: Dependency) -> Outcome:
        if dependency.id is None:
            return Outcome(jobs=_namesakes(view, job))
        if dependency.id not in view.fold.of("spec"):
            return outcomes.UNKNOWN
        phase = view.phase(dependency.id)
        if isinstance(phase, Queued) and view.has_ended(dependency.id):
            return CANCELLED
        return outcomes.of(phase)

    return wanted is None or isinstance(outcomes.judge(wanted, look, view.now), Satisfied)


def _namesakes(view: View, job: Job) -> int:
    """How many jobs of the same name and user are live, or were queued earlier."""
    found = 0
    for job_id, spec in view.fold.of("spec").items():
        if spec["name"] == job.spec.name and spec["user"] == job.spec.user and job_id != job.id:
            phase = view.phase(job_id)
            over = isinstance(phase, Ended) or view.has_ended(job_id)
            found += not over and (job_id < job.id or not isinstance(phase, Queued))
    return found


def words(view: View, job: Job) -> str:
    """`all of 41 to finish well (running), 40 to end (finished)`."""
    wanted = job.spec.needs or dependencies.NOTHING
    if len(wanted.dependencies) > MANY:
        parts = _grouped(wanted)
    else:
        parts = [f"{_target(each)}{_state(view, each)}" for each in wanted.dependencies]
    several = f"{wanted.mode} of " if len(wanted.dependencies) > 1 else ""
    stays = "" if wanted.auto_cancel else "; stays queued when that cannot be"
    return f"{several}{', '.join(parts)}{stays}"


def _target(each: Dependency) -> str:
    return "other jobs of this name to end" if each.id is None else f"{each.id} {_wanted(each)}"


def _wanted(each: Dependency) -> str:
    delay = f" and {each.delay:g} s to pass" if each.delay else ""
    return f"{WANTED.get(each.kind, WANTED_BY_DEFAULT)}{delay}"


def _state(view: View, each: Dependency) -> str:
    from gflowctl import jobs

    if each.id is None:
        return ""
    known = each.id in view.fold.of("spec")
    return f" ({jobs.state(view.job(each.id)) if known else 'gone'})"


def _grouped(wanted: Needs) -> list[str]:
    groups: dict[str, list[int]] = {}
    for each in wanted.dependencies:
        if each.id is not None:
            groups.setdefault(_wanted(each), []).append(each.id)
    alone = [_target(each) for each in wanted.dependencies if each.id is None]
    return [*(f"{joblist.show(ids)} {what}" for what, ids in groups.items()), *alone]


def relinked(wanted: Needs | None, new_ids: dict[int, int]) -> Needs | None:
    """`wanted` with each job that `new_ids` has replaced by its new id."""
    if wanted is None:
        return None
    moved = (
        each if each.id is None else each.replace(id=new_ids.get(each.id, each.id)) for each in wanted.dependencies
    )
    return wanted.replace(dependencies=tuple(moved))


def ids_of(fold: Fold, job_id: int) -> tuple[int, ...]:
    """The ids that a job waits for, or waited."""
    raw = fold.of("spec")[job_id].get("needs")
    return () if raw is None else dependencies.decode(raw).ids
