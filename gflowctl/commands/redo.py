"""Queues new jobs like old ones: the same command, script, environment and directory, less what options change.

What a job waited for its repetition waits for too; of jobs that are redone together, the new ones wait for each other.
With --cascade every job that was cancelled because of them is redone as well. Options change the jobs named, not those.
"""

from __future__ import annotations

import os
import time

from gflowctl import job_options, jobs, needs, options, records, render, submission
from gflowd.core import chains, codec, reasons, requests
from gflowd.core.errors import BadUsage, Refused, SystemFailed
from gflowd.core.model import Job, Queued, Wish
from gflowd.snapshot import Fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from gflowctl.context import Context
    from gflowd.core.dependencies import Needs
    from gflowd.core.model import Spec

FIELDS = ("gpus", "cpus", "grace", "name", "project", "comment")  # options that are the spec's fields


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    parser.usage = "gflowctl redo [OPTIONS] JOBS ..."
    options.add_jobs(parser)
    parser.add_argument("--cascade", action="store_true", help="redo also what was cancelled because of these jobs")
    parser.add_argument("--clear-dependencies", "--clear-deps", action="store_true",
                        help="wait for none of what the old job waited for")  # fmt: skip
    job_options.add_resources(parser)
    job_options.add_identity(parser)
    job_options.add_order(parser)
    job_options.add_retries(parser)
    parser.add_argument("--parsable", action="store_true", help="print only the new ids")
    options.add_json(parser, "print the new jobs as a JSON list")


def run(args: argparse.Namespace, context: Context) -> int:
    """Queues them, all in one commit."""
    if args.parsable and args.json:
        raise BadUsage("give either --parsable or --json, not both")
    if not os.path.lexists(context.state.snapshot):
        jobs.View(context, Fold()).select(args.jobs)
    begin = None if args.begin is None else context.instant(args.begin, "--begin")
    made = []
    with context.writable_store.commit() as commit:
        view = jobs.View(context, commit.fold())
        named = sorted(view.select(args.jobs))
        old_ids = [*named, *(_fallen(view, named) if args.cascade else ())]
        groups = jobs.by_spec(view, old_ids)
        first_ids = {spec_id: commit.allocate(len(ids)) for spec_id, ids in groups.items()}
        new_ids: dict[int, int] = {}
        for spec_id, ids in groups.items():
            new_ids.update(zip(sorted(ids), range(first_ids[spec_id], first_ids[spec_id] + len(ids)), strict=True))
        wanted = needs.asked(args, view.fold, context) if job_options.names_dependencies(args) else None
        named_specs = set(map(view.spec_of, named))
        for spec_id, new_id in first_ids.items():
            old = view.job(min(groups[spec_id]))
            spec = _repeated(view, old, new_ids | first_ids, groups[spec_id])
            changed = spec_id in named_specs
            if changed:
                spec = _changed(args, spec, wanted, begin)
            spec = _checked(context, spec, old)
            commit.put("spec", new_id, codec.encode(spec))
            for job in _jobs(new_id, spec, Wish(held=changed and args.hold)):
                if job.wish.held:
                    commit.put("wish", job.id, codec.encode(job.wish))
                made.append(job)
        last = commit.next_id - 1
    context.ring(b"q")
    _announce(args, context, made, last)
    return 0


def _jobs(new_id: int, spec: Spec, wish: Wish) -> Iterable[Job]:
    if spec.family is None:
        return (Job(new_id, spec, wish, Queued()),)
    from gflowctl import sweeping

    return sweeping.jobs(spec, new_id, wish)


def _fallen(view: jobs.View, ids: Iterable[int]) -> list[int]:
    """The jobs that were cancelled because of `ids`, each after those that it waited for."""
    view.recall_fallen(ids)
    because: dict[str, list[int]] = {}
    for job_id, phase in view.fold.of("phase").items():
        if phase["is"] == "ended" and (reason := phase.get("reason")) is not None:
            because.setdefault(reason, []).append(job_id)

    def fallen(job_id: int) -> list[int]:
        found = because.pop(reasons.dependency_failed(job_id), [])
        return found + because.pop(reasons.dependency_failed(view.spec_of(job_id)), [])

    return chains.cascade(ids, fallen, lambda job_id: needs.ids_of(view, job_id))


def _repeated(view: jobs.View, old: Job, new_ids: dict[int, int], ids: list[int]) -> Spec:
    spec = old.spec
    if spec.family is not None and old.array_id is not None and len(ids) < len(view.ids_of(old.array_id)):
        from gflowctl import sweeping

        array_id = old.array_id
        spec = spec.replace(family=sweeping.part(spec.family, (job_id - array_id for job_id in ids)))
    return spec.replace(
        user=view.context.user,
        submitted_at=time.time(),
        redone_from=old.id,
        needs=needs.relinked(spec.needs, new_ids),
        begin_at=None if spec.begin_at is None or spec.begin_at <= view.now else spec.begin_at,
    )


def _changed(args: argparse.Namespace, spec: Spec, wanted: Needs | None, begin: float | None) -> Spec:
    changes: dict[str, object] = {name: found for name in FIELDS if (found := getattr(args, name)) is not None}
    if args.memory is not None:
        changes["memory_mb"] = args.memory or None
    if args.time is not None:
        changes["time_limit"] = args.time or None
    if begin is not None:
        changes["begin_at"] = begin
    kept = None if args.clear_dependencies else spec.needs
    if kept is not None and args.no_auto_cancel:
        kept = kept.replace(auto_cancel=False)
    return spec.replace(
        priority=job_options.priority(args, spec.priority),
        retry=job_options.retry(args, spec.retry),
        needs=kept if wanted is None else wanted,
        **changes,
    )


def _checked(context: Context, spec: Spec, old: Job) -> Spec:
    state = context.state
    if not submission.take_in_use(state.environment(spec.env)):
        raise Refused(f"the environment of job {jobs.label(old)} is no longer kept; submit the job anew")
    if spec.script is not None and not submission.take_in_use(state.script(spec.script)):
        raise Refused(f"the script of job {jobs.label(old)} is no longer kept; submit the job anew")
    try:
        return requests.checked(spec, context.limits)
    except Refused as error:
        raise Refused(f"job {jobs.label(old)}: {error}") from None


def _announce(args: argparse.Namespace, context: Context, made: list[Job], last: int) -> None:
    first = made[0].id
    ids, many = (f"{first}-{last}", "s") if last > first else (str(first), "")
    try:
        if args.json:
            view = jobs.View(context, Fold())
            render.write_json([records.record(view, job) for job in made])
        else:
            render.write(f"{ids}\n" if args.parsable else f"Submitted batch job{many} {ids}\n")
        render.flush()
    except SystemFailed as error:
        raise SystemFailed(f"job{many} {ids} {'are' if many else 'is'} queued, but {error}") from None
