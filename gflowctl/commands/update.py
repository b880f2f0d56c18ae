"""Change queued jobs. Of a running job, only the time limit, the warning signal and the comment can be changed.

Options that are not given stay as they are; --clear resets options to their defaults. New dependencies replace all that
the job had. The time limit of a running job counts from its start. --command is split into words as a shell does it,
but nothing in it is expanded. --script keeps the content of a file, as submit does; the arguments stay. What submit
refuses is refused here too; options in a script's head count only at submission. Asking for some kind of GPU asks for
one, and --gpus 0 for no kind.

An array is changed as a whole, including what is shown of its ended elements. Its resources cannot be changed while any
element runs, nor its files once any element has started. Elements of a sweep can get other parameter values one by one
(--param), as long as they wait.

The id of a series (submit --repeat) means its next run. What is changed in that stays changed in all that follow;
--repeat and --overlap change the series itself. With --run, the id means the first run alone.

The project, the directory and the environment of a job are fixed at submission; use gflowctl redo to make another job.
"""

from __future__ import annotations

from gflowctl.change import update, wishes
from gflowctl.options import arguments, job_options
from gflowctl.output import render
from gflowctl.submit import capture
from gflowctl.view import jobs, views
from gflowd import command_line
from gflowd.core.errors import BadUsage, Refused
from gflowd.core.job import codec
from gflowd.core.job.model import EXECUTORS, Wish
from gflowd.core.job.records import ENDED, LIMIT, LIVE, PHASE, SPEC, WISH, is_queued, phase_name
from gflowd.storage.record_log import Fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from gflowctl.change.update import Request
    from gflowctl.context import Context
    from gflowd.core.job.model import Job, Spec
    from gflowd.storage.store import Commit

TAKEN = ("gpus", "gpu_memory_mb", "shared", "cpus", "memory_mb")  # fields of what a running job occupies


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    parser.usage = "gflowctl update [OPTIONS] JOBS ..."
    arguments.add_jobs(parser)
    job_options.add_resources(parser)
    group = parser.add_argument_group("identity")
    group.add_argument("-n", "--name", "-J", "--job-name", metavar="NAME", help="name of the job")
    group.add_argument("--comment", metavar="TEXT", help="text that gflowctl show shows")
    _configure_order(parser)
    job_options.add_retries(parser)
    _configure_array(parser)
    group = parser.add_argument_group("what to run")
    group.add_argument("--command", metavar="TEXT", help="replace the command and its arguments")
    group.add_argument("--script", metavar="FILE", help="replace the script (-: standard input)")
    job_options.add_environment(group)
    group.add_argument(
        "-o", "--output", metavar="PATTERN", help="write standard output to this file instead of the log"
    )
    group.add_argument("-e", "--error", metavar="PATTERN", help="write standard error to this file")
    group.add_argument("-i", "--input", metavar="FILE", help="read standard input from this file")
    group.add_argument("--append", action="store_true", default=None,
                       help="append to the output files instead of overwriting them")  # fmt: skip
    group.add_argument("--executor", choices=EXECUTORS, help="run in a tmux session or as a detached process")
    parser.add_argument(
        "--run",
        action="store_true",
        dest="only_run",
        help="change the run with this id, not the next of its series",
    )
    parser.add_argument("--clear", action="extend", type=command_line.words, default=[], metavar="OPTION,...",
                        help="options to reset to their defaults, e.g. time,begin,depends-on")  # fmt: skip
    arguments.add_changed_json(parser)


def _configure_order(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("order")
    job_options.add_priority(group)
    job_options.add_dependencies(group)
    group.add_argument("--auto-cancel", action="store_true", default=None,
                       help="cancel the job if a dependency can no longer be satisfied")  # fmt: skip
    group.add_argument(
        "--no-auto-cancel", action="store_false", dest="auto_cancel", help="keep the job queued in that case"
    )
    group.add_argument(
        "--begin", metavar="INSTANT", help="do not start before this time, e.g. 18:30, tomorrow 9:00 or now+2h"
    )
    job_options.add_deadline(group)
    job_options.add_repeat(group)
    command_line.add_timezone(group, command_line.READS)


def _configure_array(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("arrays and sweeps")
    group.add_argument("--param", action="append", default=[], metavar="NAME=VALUE",
                       help="set a parameter of the named elements to VALUE, taken literally")  # fmt: skip
    group.add_argument(
        "--max-concurrent", type=command_line.count, metavar="N", help="run at most N elements at a time"
    )
    group.add_argument("--max-failures", type=command_line.count, metavar="N",
                       help="cancel the rest once N jobs have failed")  # fmt: skip


def run(args: argparse.Namespace, context: Context) -> int:
    """Rewrites the specs of all jobs, or of none."""
    request = update.Request(args, context)
    if not request.options and not request.cleared:
        raise BadUsage("nothing to change: give an option (see gflowctl update --help)")
    if not context.state.has_snapshot():
        views.View(context, Fold()).select(args.jobs)
    if request.script is not None:
        capture.keep_script(context.state, request.script)
    changed: list[Job] = []
    made: list[tuple[str, Spec]] = []
    same = []
    with context.writable_store.commit() as commit:
        view = views.View(context, commit.fold())
        groups = views.by_spec(view, _named(args, view))
        request.look_up_needs(view)
        refused = []
        for spec_id, ids in groups.items():
            name = f"job {spec_id if spec_id in view.families else ids[0]}"
            try:
                view.check_changeable(spec_id)
            except Refused as error:
                refused.append(f"{name} {error}")
                continue
            try:
                spec = _change(view, commit, request, spec_id, ids)
            except Refused as error:
                refused.append(f"{name}: {error}")
                continue
            if spec is not None:
                changed += map(view.job, ids)
                made.append((name.removeprefix("job "), spec))
            else:
                same.append(spec_id)
        if refused:
            raise Refused("; ".join(refused))
        if request.needs is not None or args.name is not None:
            _refuse_cycles(view, list(groups), request)
    if changed:
        context.ring(b"w")
    wishes.tell(args, context, changed, ("Updated", changed))
    for spec_id in same:
        render.note(f"job {spec_id} already has these values")
    _note(request, context, made)
    return 0


def _named(args: argparse.Namespace, view: views.View) -> list[int]:
    if args.only_run or not view.has_series:
        return view.select(args.jobs)
    from gflowctl.view import runs

    found = runs.by_series(view)
    return runs.meant(found, view.select(args.jobs, found), runs.NEXT)


def _note(request: Request, context: Context, made: Sequence[tuple[str, Spec]]) -> None:
    """As a submission notes it of new jobs."""
    for note in request.notes:
        if render.notes_are_read() or any(each in note for each in capture.ALWAYS_SAID):
            render.note(note)
    job_options.note_vain_signals(spec for _, spec in made)
    if context.observed.has_repeating_reservations and made:
        from gflowctl.machine import prospects

        prospects.note(context, made)


def _change(view: views.View, commit: Commit, request: Request, spec_id: int, ids: Sequence[int]) -> Spec | None:
    """The new spec; None where there was nothing to change. Raises `Refused`."""
    if len(ids) < len(view.ids_of(spec_id)) and (request.options != {"param"} or request.cleared):
        raise Refused(f"the elements of an array are changed together, except with --param; give {spec_id}")
    job = _foremost(view, ids)
    spec = request.apply(view, job, ids)
    if any(getattr(spec, field) != getattr(job.spec, field) for field in TAKEN):
        _refuse_beside(view, ids, LIVE, "resources")
    if _files(spec) != _files(job.spec):
        _refuse_beside(view, ids, (*LIVE, ENDED), "files")
    touched = request.options | request.cleared
    moves = spec.begin_at != job.spec.begin_at or not touched.isdisjoint(("begin", "repeat"))
    moved = [each for each in ids if moves and "begin_at" in (view.records.of(WISH).get(each) or ())]
    limited = "max-concurrent" in touched and spec_id in view.records.of(LIMIT)
    if spec == job.spec and not moved and not limited:
        return None
    if spec.gpus > job.spec.gpus:
        from gflowctl.machine import quotas

        quotas.check_size(quotas.in_force(view.context, view.fold), spec)
    commit.put(SPEC, spec_id, codec.encode(spec))
    if limited:  # it would take precedence over the spec
        commit.put(LIMIT, spec_id, None)
    for each in moved:
        wish = view.job(each).wish.replace(begin_at=None)
        commit.put(WISH, each, None if wish == Wish() else codec.encode(wish))
    return spec


def _files(spec: Spec) -> tuple[str | None, ...]:
    """The fields that determine where all elements write."""
    patterns = (spec.output, spec.error)
    by_name = spec.name_template is None and any("%x" in each for each in patterns if each is not None)
    return (*patterns, spec.name if by_name else None)


def _refuse_beside(view: views.View, ids: Sequence[int], phases: tuple[str, ...], what: str) -> None:
    """Elements share a spec: a change would misstate the resources, or lose the log, of an element in such a phase."""
    records = view.records.of(PHASE)
    found = next((each for each in ids if phase_name(records.get(each)) in phases), None)
    if found is not None:
        element = view.job(found)
        raise Refused(
            f"its {what} cannot be changed, {jobs.label(element)} is {jobs.state(element)}; "
            "gflowctl redo the elements that wait with other ones, and cancel these"
        )


def _foremost(view: views.View, ids: Sequence[int]) -> Job:
    """The first element of an array that waits, or else runs: while some wait, all may be changed."""
    found = view.job(ids[0])
    if len(ids) > 1:
        left = [job_id for job_id in ids if not view.has_ended(job_id)]
        waiting = (job_id for job_id in left if is_queued(view.records.of(PHASE).get(job_id)))
        found = view.job(next(waiting, left[0] if left else ids[0]))
    return found


def _refuse_cycles(view: views.View, spec_ids: Sequence[int], request: Request) -> None:
    from gflowctl.change import cycles

    cycles.refuse(view, spec_ids, request.needs, request.args.name)
