"""Changes the specs of jobs as the options of `update` say: in one commit, all of them or none."""

from __future__ import annotations

from gflowctl.change import update, wishes
from gflowctl.options import job_options
from gflowctl.output import render
from gflowctl.submit import capture
from gflowctl.view import roles, views
from gflowd.core.admission import queue_limits, updates
from gflowd.core.errors import BadUsage, Refused
from gflowd.core.job import codec
from gflowd.core.job.model import Wish
from gflowd.core.job.records import LIMIT, SPEC, WISH
from gflowd.core.job.value_base import Value
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
                roles.check(view, spec_id)
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
        from gflowctl.machine import reservation_prospects

        reservation_prospects.note(context, outcome.made)


def named(args: argparse.Namespace, view: views.View) -> list[int]:
    """The ids that JOBS arguments name; of a series the run that has yet to start."""
    if args.only_run or not view.has_series:
        return view.select(args.jobs)
    from gflowctl.view import series_runs

    found = series_runs.by_series(view)
    return series_runs.meant(found, view.select(args.jobs, found), series_runs.NEXT)


def _change(view: views.View, commit: Commit, request: Request, spec_id: int, ids: Sequence[int]) -> Spec | None:
    """The new spec; None where there was nothing to change. Raises `Refused`."""
    if len(ids) < len(view.ids_of(spec_id)) and (request.options != {"param"} or request.cleared):
        raise Refused(f"the elements of an array are changed together, except with --param; give {spec_id}")
    job = updates.foremost(view, ids)
    spec = request.apply(view, job, ids)
    updates.check_elements(view, ids, job.spec, spec)
    touched = request.options | request.cleared
    moves = spec.begin_at != job.spec.begin_at or not touched.isdisjoint(("begin", "repeat"))
    moved = [each for each in ids if moves and "begin_at" in (view.records.of(WISH).get(each) or ())]
    limited = "max-concurrent" in touched and spec_id in view.records.of(LIMIT)
    if spec == job.spec and not moved and not limited:
        return None
    if spec.gpus > job.spec.gpus:
        from gflowctl.machine import quotas

        queue_limits.check_size(quotas.in_force(view.context, view.fold), spec)
    commit.put(SPEC, spec_id, codec.encode(spec))
    if limited:  # it would take precedence over the spec
        commit.put(LIMIT, spec_id, None)
    for each in moved:
        wish = view.job(each).wish.replace(begin_at=None)
        commit.put(WISH, each, None if wish == Wish() else codec.encode(wish))
    return spec


def _refuse_cycles(view: views.View, spec_ids: Sequence[int], request: Request) -> None:
    from gflowd.core.admission import dependency_cycles

    dependency_cycles.refuse(view, spec_ids, request.needs, request.args.name)
