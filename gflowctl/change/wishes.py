"""Changes what users want: reads phases and writes wishes under one lock."""

from __future__ import annotations

import time

from gflowctl.output import render
from gflowctl.view import jobs, roles, views
from gflowd.core.admission import wish_rules
from gflowd.core.errors import Refused
from gflowd.core.job import codec
from gflowd.core.job.model import Wish
from gflowd.core.job.records import WISH
from gflowd.core.job.value_base import Value
from gflowd.core.syntax.plurals import count, noun
from gflowd.storage.record_log import Fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from typing import Final, Protocol

    from gflowctl.context import Context
    from gflowd.core.job.model import Job
    from gflowd.storage.store import Commit

    # the new wish of a job, or why there is nothing to do, e.g. `is already held`; raises `Refused`
    # in the same words
    Change = Callable[[views.View, Job], Wish | str]

    class Chosen(Protocol):
        """Which jobs are to be changed, as `gflowctl.options.selection.Selection` says it."""

        @property
        def is_by_options(self) -> bool: ...

        def select(self, view: views.View) -> list[int]: ...

        def nothing(self) -> str: ...


class Outcome(Value):
    """The jobs whose wish was changed, and notes on those without a change."""

    __slots__ = ("changed", "notes", "view")

    def __init__(self, view: views.View, changed: Sequence[Job], notes: Sequence[str]) -> None:
        self.view: Final = view  # as it was before
        self.changed: Final = changed
        self.notes: Final = notes


def cancelled(wish: Wish, user: str, *, only_run: bool = False) -> Wish:
    """The wish that the job be cancelled; `only_run`: its series goes on."""
    return wish_rules.ended(wish, user, time.time(), only_run=only_run)


def apply(context: Context, selection: Chosen, change: Change) -> Outcome:
    """Applies `change` to the jobs that are selected: to all of them, or to none if one is refused."""
    if not context.state.has_snapshot():
        return preview(context, selection, change)  # there are no jobs; do not create a snapshot to say so

    def decide(commit: Commit) -> Outcome:
        outcome, wished = _judge(views.View(context, commit.fold()), selection, change)
        for job_id, wish in wished:
            commit.put(WISH, job_id, None if wish == Wish() else codec.encode(wish))
        return outcome

    outcome = context.change(decide)
    if outcome.changed:
        context.ring(b"w")
    return outcome


def preview(context: Context, selection: Chosen, change: Change) -> Outcome:
    """What `apply` would do now."""
    fold = context.store.read() if context.state.has_snapshot() else Fold()
    return _judge(views.View(context, fold), selection, change)[0]


def _judge(view: views.View, selection: Chosen, change: Change) -> tuple[Outcome, list[tuple[int, Wish]]]:
    """Skips jobs that refuse, if options chose them or their array is named as a whole, unless none is left."""
    changed: list[Job] = []
    wished: list[tuple[int, Wish]] = []
    refused: dict[str, list[Job]] = {}
    passed: dict[str, list[Job]] = {}
    noted: dict[str, list[Job]] = {}
    found = selection.select(view)
    ids = roles.changeable(view, found) if selection.is_by_options else found
    if not ids:
        others = f"; {count(len(found), 'job')} of others, which only operators may change" if found else ""
        return Outcome(view, (), [f"{selection.nothing()}{others}"]), wished
    whole = _whole_arrays(view, ids)
    for job in map(view.job, ids):
        try:
            roles.check(view, job.id)
            wanted = change(view, job)
            if isinstance(wanted, Wish):
                view.check_changeable(job.id)
        except Refused as error:
            (passed if selection.is_by_options or job.array_id in whole else refused).setdefault(str(error), []).append(
                job
            )
            continue
        if isinstance(wanted, Wish):
            wished.append((job.id, wanted))
            changed.append(job)
        else:
            noted.setdefault(wanted, []).append(job)
    if not changed and not noted:
        refused |= passed
    if refused:
        raise Refused("; ".join(said(found, what) for what, found in refused.items()))
    if changed and selection.is_by_options:  # nobody named the others
        return Outcome(view, changed, ()), wished
    return Outcome(view, changed, [said(found, what) for what, found in (noted | passed).items()]), wished


def _whole_arrays(view: views.View, ids: Sequence[int]) -> set[int | None]:
    named = set(ids) if view.families else set()
    return {array_id for array_id in named & view.families.keys() if named.issuperset(view.ids_of(array_id))}


def said(found: Sequence[Job], what: str) -> str:
    """`job 42 is held`, `each of 42_[1-3] is held`."""
    return f"{'each of' if len(found) > 1 else 'job'} {jobs.labels(found)} {what}"


def report(
    args: argparse.Namespace, outcome: Outcome, *told: tuple[str, Sequence[Job]], also: Sequence[str] = ()
) -> None:
    """As `tell`; and the jobs without a change as notes."""
    tell(args, outcome.view.context, outcome.changed, *told, also=also)
    for each in outcome.notes:
        render.note(each)


def tell(
    args: argparse.Namespace,
    context: Context,
    changed: Sequence[Job],
    *told: tuple[str, Sequence[Job]],
    also: Sequence[str] = (),
) -> None:
    """Prints `Held job 42` or `Held jobs 3-5` for each of `told` (`Held`, and the jobs) that has jobs, and `also`
    further lines; with --json the list of the changed jobs as they are now, in the form of `queue --json`.
    """
    if not args.json:
        lines = [f"{what} {noun(len(found), 'job')} {jobs.labels(found)}" for what, found in told if found]
        render.write("".join(f"{line}\n" for line in (*lines, *also)))
        return
    from gflowctl.output import json_records

    view = views.View(context, context.store.read() if changed else Fold())
    render.write_json([json_records.record(view, view.job(job.id)) for job in changed])
    for each in also:
        render.note(each)
