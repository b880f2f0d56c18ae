"""Queue new jobs like old ones: same command, script, environment and directory, except where options change them.

The new job keeps the old one's dependencies; among jobs that are redone together, the new ones depend on each other.
With --cascade, every job that was cancelled because of these is redone too. Options change only the jobs named.
A run of a series is redone once, by itself.

Name the jobs or choose them by options. These choose jobs that have ended, unless --state says otherwise, and leave out
the history. The names of the old jobs are given by --select-name, since --name is that of the new job.
"""

from __future__ import annotations

from gflowctl.change import redo
from gflowctl.options import job_options, selection
from gflowctl.options.selection import Selection
from gflowctl.output import json_records, render
from gflowctl.submit import cluster_choice
from gflowctl.view import views
from gflowd import command_line
from gflowd.core.errors import BadUsage, SystemFailed
from gflowd.core.job.model import ENDED_STATES
from gflowd.core.request import update_rules, validation
from gflowd.core.syntax.plurals import noun
from gflowd.storage.record_log import Fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context
    from gflowctl.submit.enqueue import New
    from gflowd.core.job.dependencies import Needs
    from gflowd.core.job.model import Spec

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
    job_options.add_cluster(parser.add_argument_group("machines"))
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
    anew = redo.Anew(
        changed=lambda spec, wanted: _changed(args, spec, wanted, begin, deadline),
        waits_for=job_options.dependencies(args),
        cascade=args.cascade,
        cleared=args.clear_dependencies,
        held=args.hold,
    )
    made = redo.queue(context, chosen, anew)
    if not made:
        return _nothing(args, chosen)
    _announce(args, context, made)
    job_options.note_vain_signals(new.spec for new in made)
    if context.observed.has_repeating_reservations:
        from gflowctl.machine import reservation_prospects

        reservation_prospects.note(context, [(_span(new.first, len(new.ids)), new.spec) for new in made])
    return 0


def _nothing(args: argparse.Namespace, chosen: Selection) -> int:
    render.note(chosen.nothing())
    if args.json:
        render.write_json([])
    return 0


def _changed(
    args: argparse.Namespace, spec: Spec, wanted: Needs | None, begin: float | None, deadline: float | None
) -> Spec:
    changes: dict[str, object] = {}
    for option, field in FIELDS.items():
        value = getattr(args, option, None)
        if value is not None and value is not False:
            changes[field] = None if option in ZERO_IS_NONE and not value else value
    if args.cluster is not None:
        changes["cluster"] = cluster_choice.named(args.cluster)
    if args.notify:
        changes["notify"] = tuple(args.notify)
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


def _span(first: int, count: int) -> str:
    return f"{first}-{first + count - 1}" if count > 1 else str(first)


def _announce(args: argparse.Namespace, context: Context, made: list[New]) -> None:
    many = sum(len(new.ids) for new in made)
    ids = _span(made[0].first, many)
    try:
        if args.json:
            view = views.View(context, Fold())
            render.write_json([json_records.record(view, job) for new in made for job in new.jobs])
        else:
            render.write(f"{ids}\n" if args.parsable else f"Submitted batch {noun(many, 'job')} {ids}\n")
        render.flush()
    except SystemFailed as error:
        raise SystemFailed(f"{noun(many, 'job')} {ids} {noun(many, 'is', 'are')} queued, but {error}") from None
