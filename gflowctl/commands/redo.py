"""Queue new jobs like old ones: same command, script, environment and directory, except where options change them.

The new job keeps the old one's dependencies; among jobs that are redone together, the new ones depend on each other.
With --cascade, every job that was cancelled because of these is redone too. Options change only the jobs named.
A run of a series is redone once, by itself.

Name the jobs or choose them by options. These choose jobs that have ended, unless --state says otherwise, and leave out
the history. The names of the old jobs are given by --select-name, since --name is that of the new job.
"""

from __future__ import annotations

import time
from functools import cache

from gflowctl.change.redo_links import Links
from gflowctl.machine import quotas
from gflowctl.options import job_options, selection
from gflowctl.options.selection import Selection
from gflowctl.output import json_records, render
from gflowctl.submit import capture
from gflowctl.submit.enqueue import New
from gflowctl.view import dependencies, dependency_request, jobs, views
from gflowd import command_line
from gflowd.core.errors import BadUsage, Refused, SystemFailed
from gflowd.core.job import reasons
from gflowd.core.job.dependencies import NOTHING
from gflowd.core.job.model import ENDED_STATES, FAILURES
from gflowd.core.job.records import PHASE, has_ended
from gflowd.core.queue import dependency_paths
from gflowd.core.request import update_rules, validation
from gflowd.core.syntax.plurals import noun
from gflowd.storage.record_log import Fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from gflowctl.context import Context
    from gflowd.core.job.arrays import Family
    from gflowd.core.job.dependencies import Needs
    from gflowd.core.job.model import Job, Spec

FIELDS = {  # of the spec, by the option that sets it
    "gpus": "gpus", "gpu_type": "gpu_type", "gpu_memory": "gpu_memory_mb", "shared": "shared", "cpus": "cpus",
    "gpu_prefer": "gpu_prefer", "memory": "memory_mb", "time": "time_limit", "quiet_limit": "quiet_limit",
    "grace": "grace", "signal": "early_signal", "name": "name",
    "project": "project", "comment": "comment", "conda_env": "conda_env", "notify_email": "notify_email",
    "notify_on": "notify_on",
}  # fmt: skip
NAME = "--select-name"
ZERO_IS_NONE = ("memory", "time", "gpu_memory", "quiet_limit")


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    parser.usage = "gflowctl redo [OPTIONS] [JOBS ...]"
    selection.add(parser, "every job that has ended", name=NAME)
    parser.add_argument("--cascade", action="store_true", help="also redo jobs that were cancelled because of these")
    parser.add_argument("--clear-dependencies", "--clear-deps", action="store_true",
                        help="drop all dependencies of the old job")  # fmt: skip
    job_options.add_resources(parser)
    job_options.add_identity(parser)
    job_options.add_environment(parser.add_argument_group("environment"))
    job_options.add_order(parser)
    job_options.add_retries(parser)
    job_options.add_notification(parser)
    parser.add_argument("--parsable", action="store_true", help="print only the new ids")
    command_line.add_json(parser, "print the new jobs as a JSON list")


def run(args: argparse.Namespace, context: Context) -> int:
    """Queues them, all in one commit."""
    if args.parsable and args.json:
        raise BadUsage("give either --parsable or --json, not both")
    chosen = Selection(args, "redo", usual=ENDED_STATES, name=NAME)
    if not context.state.has_snapshot():
        chosen.select(views.View(context, Fold()))
        return _nothing(args, chosen)
    begin = None if args.begin is None else context.instant(args.begin, "--begin")
    deadline = None if args.deadline is None else context.instant(args.deadline, "--deadline")
    made: list[Job] = []
    wanted_jobs: list[tuple[Spec, int]] = []
    with context.writable_store.commit() as commit:
        view = views.View(context, commit.fold())
        named = sorted(chosen.select(view))
        if not named:
            return _nothing(args, chosen)
        if args.cascade:
            named = sorted([*named, *_given_up(view, named)])
        old_ids = [*named, *(_fallen(view, named) if args.cascade else ())]
        groups = {spec_id: sorted(ids) for spec_id, ids in views.by_spec(view, old_ids).items()}
        first_ids = {spec_id: commit.allocate(len(ids)) for spec_id, ids in groups.items()}
        links = Links(view, groups, first_ids)
        waits_for = job_options.dependencies(args)
        wanted = None if waits_for is None else dependency_request.asked(waits_for, view)
        named_specs = set(map(view.spec_of, named))
        git_state = cache(capture.git_state)
        for spec_id, new_id in first_ids.items():
            old = view.job(groups[spec_id][0])
            changed = spec_id in named_specs
            anew = changed and (wanted is not None or args.clear_dependencies)
            spec = _repeated(view, old, links.family(spec_id), None if anew else links.needs(spec_id, old.spec.needs))
            spec = spec.replace(git=git_state(spec.cwd))
            if changed:
                spec = _changed(args, spec, wanted, begin, deadline)
                dependency_request.check_elements(wanted or NOTHING, spec.family, view.records)
            spec = _checked(context, spec, old, view.now)
            new = New(new_id, spec, held=changed and args.hold)
            new.put(commit)
            wanted_jobs.append((spec, len(new.ids)))
            made += new.jobs
        quotas.check(context, view.fold, wanted_jobs)
        last = commit.next_id - 1
    context.ring(b"q")
    _announce(args, context, made, last)
    job_options.note_vain_signals(spec for spec, _ in wanted_jobs)
    if context.observed.has_repeating_reservations:
        from gflowctl.machine import prospects

        names = (_span(first_ids[spec_id], len(ids)) for spec_id, ids in groups.items())
        prospects.note(context, list(zip(names, (spec for spec, _ in wanted_jobs), strict=True)))
    return 0


def _nothing(args: argparse.Namespace, chosen: Selection) -> int:
    render.note(chosen.nothing())
    if args.json:
        render.write_json([])
    return 0


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


def _changed(
    args: argparse.Namespace, spec: Spec, wanted: Needs | None, begin: float | None, deadline: float | None
) -> Spec:
    changes: dict[str, object] = {}
    for option, field in FIELDS.items():
        value = getattr(args, option, None)
        if value is not None and value is not False:
            changes[field] = None if option in ZERO_IS_NONE and not value else value
    if begin is not None:
        changes["begin_at"] = begin
    if deadline is not None:
        changes["deadline"] = deadline
    if not changes.keys().isdisjoint(update_rules.OF_GPUS):
        spec = validation.with_gpus(spec.replace(**changes), said=args.gpus is not None)
        changes = {name: value for name, value in changes.items() if name not in update_rules.OF_GPUS}
    spec = validation.with_amounts(spec.replace(**changes), changes.keys())
    kept = spec.needs
    if kept is not None and args.no_auto_cancel:
        kept = kept.replace(auto_cancel=False)
    return spec.replace(
        priority=job_options.priority(args, spec.priority),
        retry=job_options.retry(args, spec.retry),
        needs=kept if wanted is None else wanted,
    )


def _checked(context: Context, spec: Spec, old: Job, now: float) -> Spec:
    state = context.state
    if not capture.take_in_use(state.environment(spec.env)):
        raise Refused(f"the environment of job {jobs.label(old)} is no longer kept; submit the job again")
    if spec.script is not None and not capture.take_in_use(state.script(spec.script)):
        raise Refused(f"the script of job {jobs.label(old)} is no longer kept; submit the job again")
    try:
        validation.check_deadline(spec, now)
        return validation.checked(spec, context.limits)
    except Refused as error:
        raise Refused(f"job {jobs.label(old)}: {error}") from None


def _span(first: int, count: int) -> str:
    return f"{first}-{first + count - 1}" if count > 1 else str(first)


def _announce(args: argparse.Namespace, context: Context, made: list[Job], last: int) -> None:
    first = made[0].id
    many = 1 + last - first
    ids = _span(first, many)
    try:
        if args.json:
            view = views.View(context, Fold())
            render.write_json([json_records.record(view, job) for job in made])
        else:
            render.write(f"{ids}\n" if args.parsable else f"Submitted batch {noun(many, 'job')} {ids}\n")
        render.flush()
    except SystemFailed as error:
        raise SystemFailed(f"{noun(many, 'job')} {ids} {noun(many, 'is', 'are')} queued, but {error}") from None
