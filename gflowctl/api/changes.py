"""Changes to jobs that exist, by the same ways as the commands of gflowctl."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowctl.api.submission import submission_of
from gflowctl.api.values import Changes, Submission
from gflowctl.view import series_runs, views
from gflowd.core.errors import Refused
from gflowd.storage.record_log import Fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowctl.api.reader import Reader
    from gflowctl.change.wishes import Change


class Named:
    """Jobs by their names. `series`: those that were named, once `select` was called."""

    is_by_options = False

    def __init__(self, words: Sequence[str], which: str | None = None) -> None:
        """`which` runs the id of a series means; None: the run with this id."""
        self._words = words
        self._which = which
        self.series: set[int] = set()

    def select(self, view: views.View) -> list[int]:
        """Their ids."""
        if not self._words:
            return []
        ids, self.series = series_runs.select(view, self._words, self._which)
        return ids

    def nothing(self) -> str:
        """What to say where there are none."""
        return "no job is named"


def change(reader: Reader, chosen: Named, wanted: Change, *, dry_run: bool = False) -> Changes:
    """Applies `wanted`, to all jobs that are named or to none; with `dry_run` only says to which."""
    from gflowctl.change import wishes

    with reader.changing() as context:
        outcome = (wishes.preview if dry_run else wishes.apply)(context, chosen, wanted)
        after = views.View(context, context.store.read() if outcome.changed else Fold())
        jobs = reader.jobs(after, [job.id for job in outcome.changed]) if outcome.changed else []
        return Changes(tuple(jobs), tuple(outcome.notes))


def cancel(reader: Reader, words: Sequence[str], *, only_run: bool, dry_run: bool) -> Changes:
    """As `Queue.cancel`."""
    import dataclasses

    from gflowctl.change import lost_dependents, wishes
    from gflowctl.change.cancellation import Cancellation

    chosen = Named(words, None if only_run else series_runs.ALL)
    cancellation = Cancellation(chosen)
    with reader.changing() as context:
        before = wishes.preview(context, chosen, cancellation)
        falls = lost_dependents.of(before.view, [job.id for job in before.changed])
        changes = change(reader, chosen, cancellation, dry_run=dry_run)
    passed = tuple(f"series {number} goes on" for number in cancellation.passed)
    return dataclasses.replace(
        changes,
        notes=(*changes.notes, *passed),
        cascaded=tuple(job.id for job in falls.cancelled),
        stuck=tuple(job.id for job in falls.stuck),
    )


def redo(reader: Reader, words: Sequence[str], *, cascade: bool, clear_dependencies: bool, hold: bool) -> Submission:
    """As `Queue.redo`."""
    from gflowctl.change import redo as redoing

    with reader.changing() as context:
        chosen = Named(words)
        if not words or not context.state.has_snapshot():
            chosen.select(views.View(context, Fold()))
            raise Refused(chosen.nothing())
        anew = redoing.Anew(cascade=cascade, cleared=clear_dependencies, held=hold)
        return submission_of(context, redoing.queue(context, chosen, anew), ())
