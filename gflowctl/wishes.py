"""Changes what users want of their jobs: phases are looked at and wishes written under one lock."""

from __future__ import annotations

import os

from gflowctl import jobs, render
from gflowd.core import codec, joblist
from gflowd.core.errors import Refused
from gflowd.core.model import Wish
from gflowd.snapshot import Fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gflowctl.context import Context
    from gflowd.core.model import Job

    # what is wanted of a job now: a changed wish, or in words why nothing is to be done; raises Refused
    Change = Callable[[jobs.View, Job], Wish | str]
    Select = Callable[[jobs.View], Sequence[int]]


class Outcome:
    """The jobs whose wish was changed, and the notes on those where nothing was to do."""

    __slots__ = ("changed", "notes")

    def __init__(self) -> None:
        self.changed: list[Job] = []
        self.notes: list[str] = []


def apply(context: Context, select: Select, change: Change) -> Outcome:
    """Applies `change` to the jobs that `select` names: to all of them, or, when one is refused, to none."""
    if not os.path.lexists(context.state.snapshot):
        return preview(context, select, change)  # there are no jobs; do not make a snapshot to say so
    with context.writable_store.commit() as commit:
        outcome, wished = _judge(jobs.View(context, commit.fold()), select, change)
        for job_id, wish in wished:
            commit.put("wish", job_id, None if wish == Wish() else codec.encode(wish))
    if wished:
        context.ring(b"w")
    return outcome


def preview(context: Context, select: Select, change: Change) -> Outcome:
    """What `apply` would do now."""
    fold = context.store.read() if os.path.lexists(context.state.snapshot) else Fold()
    return _judge(jobs.View(context, fold), select, change)[0]


def _judge(view: jobs.View, select: Select, change: Change) -> tuple[Outcome, list[tuple[int, Wish]]]:
    outcome = Outcome()
    wished, refused = [], []
    for job in map(view.job, select(view)):
        try:
            wanted = change(view, job)
        except Refused as error:
            refused.append(str(error))
            continue
        if isinstance(wanted, Wish):
            wished.append((job.id, wanted))
            outcome.changed.append(job)
        else:
            outcome.notes.append(wanted)
    if refused:
        raise Refused("; ".join(refused))
    return outcome, wished


def tell(said: str, changed: Sequence[Job]) -> None:
    """`Held job 42`, `Held jobs 3-5`: nothing for nothing."""
    if changed:
        many = "s" if len(changed) > 1 else ""
        render.write(f"{said} job{many} {joblist.show(job.id for job in changed)}\n")
