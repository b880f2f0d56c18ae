"""Changes the specs of jobs as the options of `update` say: in one commit, all of them or none."""

from __future__ import annotations

from gflowctl.change import update, wishes
from gflowctl.options import job_options
from gflowctl.output import render
from gflowctl.submit import capture
from gflowctl.view import jobs, views
from gflowd.core.errors import BadUsage, Refused
from gflowd.core.job import codec
from gflowd.core.job.model import Wish
from gflowd.core.job.records import ENDED, LIMIT, LIVE, PHASE, SPEC, WISH, is_queued, phase_name
from gflowd.core.job.value import Value
from gflowd.storage.record_log import Fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import Final

    from gflowctl.change.update import Request
    from gflowctl.context import Context
    from gflowd.core.job.model import Job, Spec
    from gflowd.storage.store import Commit

TAKEN = ("gpus", "gpu_memory_mb", "shared", "cpus", "memory_mb")  # fields of what a running job occupies


class Outcome(Value):
    """The jobs that were changed, their new specs by the names of the jobs, the ids of the specs that were so already,
    and what is to be noted of the request.
    """

    __slots__ = ("changed", "made", "notes", "same")

    def __init__(
        self, *, changed: Sequence[Job], made: Sequence[tuple[str, Spec]], same: Sequence[int], notes: Sequence[str]
    ) -> None:
        self.changed: Final = changed
        self.made: Final = made
        self.same: Final = same
        self.notes: Final = notes


def commit(args: argparse.Namespace, context: Context) -> Outcome:
    """Changes what `args`, the options of `update`, ask for; nothing if it raises `Refused` or `BadUsage`."""
    request = update.Request(args, context)
    if not request.options and not request.cleared:
        raise BadUsage("nothing to change: give an option (see gflowctl update --help)")
    if not context.state.has_snapshot():
        views.View(context, Fold()).select(args.jobs)
    files = capture.keep(context.state, (), () if request.script is None else (request.script,))

    def decide(written: Commit) -> Outcome:
        changed: list[Job] = []
        made: list[tuple[str, Spec]] = []
        same = []
        view = views.View(context, written.fold())
        groups = views.by_spec(view, named(args, view))
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
                spec = _change(view, written, request, spec_id, ids)
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
        return Outcome(changed=changed, made=made, same=same, notes=tuple(request.notes))

    outcome = context.change(decide, files=files)
    if outcome.changed:
        context.ring(b"w")
    return outcome


def tell(args: argparse.Namespace, context: Context, outcome: Outcome) -> None:
    """Prints it, and notes what a submission notes of new jobs."""
    wishes.tell(args, context, outcome.changed, ("Updated", outcome.changed))
    for spec_id in outcome.same:
        render.note(f"job {spec_id} already has these values")
    capture.tell(outcome.notes)
    job_options.note_vain_signals(spec for _, spec in outcome.made)
    if context.observed.has_repeating_reservations and outcome.made:
        from gflowctl.machine import prospects

        prospects.note(context, outcome.made)


def named(args: argparse.Namespace, view: views.View) -> list[int]:
    """The ids that JOBS arguments name; of a series the run that has yet to start."""
    if args.only_run or not view.has_series:
        return view.select(args.jobs)
    from gflowctl.view import runs

    found = runs.by_series(view)
    return runs.meant(found, view.select(args.jobs, found), runs.NEXT)


def _change(view: views.View, commit: Commit, request: Request, spec_id: int, ids: Sequence[int]) -> Spec | None:
    """The new spec; None where there was nothing to change. Raises `Refused`."""
    if len(ids) < len(view.ids_of(spec_id)) and (request.options != {"param"} or request.cleared):
        raise Refused(f"the elements of an array are changed together, except with --param; give {spec_id}")
    job = foremost(view, ids)
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


def foremost(view: views.View, ids: Sequence[int]) -> Job:
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
