"""What scontrol does to jobs that it is given by id: hold, release, requeue, suspend, resume, top."""

from __future__ import annotations

import time

from gflowctl.change import applied_wish_rules, wishes
from gflowctl.output import render
from gflowctl.slurm.report import choice
from gflowctl.view import jobs, series_runs, views
from gflowd.core.errors import Refused
from gflowd.core.job import array_ids
from gflowd.core.job.model import Queued, Suspended, Wish
from gflowd.core.slurm import job_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Final

    from gflowctl.change.wishes import Change
    from gflowctl.context import Context
    from gflowctl.view.views import View
    from gflowd.core.job.model import Job

UNKNOWN = "Invalid job id specified"


class Unknown(Refused):
    """There is no such job."""


class Named:
    """The jobs of one word, for `wishes.apply`."""

    __slots__ = ("_which", "_word", "is_by_options")

    def __init__(self, word: str, *, which: str | None) -> None:
        self._word: Final = word
        self._which: Final = which
        self.is_by_options: Final = False

    def select(self, view: View) -> list[int]:
        """Their ids. Raises `Unknown`."""
        return meant(view, self._word, which=self._which)

    def nothing(self) -> str:
        """Never needed: a word means a job, or none that exists."""
        return UNKNOWN


def meant(view: View, word: str, *, which: str | None = series_runs.NEXT) -> list[int]:
    """The ids that a word names; the id of a series means `which` of its runs (`view.series_runs`), or with None the
    run that has it. Raises `Unknown`.
    """
    try:
        (named,) = job_words.parse(word.removesuffix("_*"))
    except (Refused, ValueError):
        raise Unknown(UNKNOWN) from None
    if which is not None and view.has_series:
        found = series_runs.by_series(view, which)
        if named.id in found and named.indices is None:
            return series_runs.meant(found, [named.id], which)
    ids = choice.ids_of(view, named) if named.step is None else None
    if not ids:
        raise Unknown(UNKNOWN)
    return ids


def words(given: Sequence[str], context: Context) -> Iterator[str]:
    """The jobs of a command: `1,2_3`, `jobid=1`, or `jobname=NAME`. Raises `Refused` for a name that nobody has."""
    for text in given:
        key, equals, value = text.partition("=")
        if key.lower() in ("jobname", "name") and equals:
            yield from by_name(value, context)
        else:
            yield from filter(None, array_ids.split(value if equals and key.lower() in ("job", "jobid") else text))


def by_name(name: str, context: Context) -> Iterator[str]:
    """The user's jobs with this name that have not ended, arrays as one."""
    view = views.View(context, context.store.read())
    mine = [each for each in view.owned(view.ids(), {context.user}) if not view.has_ended(each)]
    found = dict.fromkeys(view.spec_of(each) for each in mine if view.job(each).spec.name == name)
    if not found:
        raise Refused(f"{UNKNOWN} for job {name}")
    return map(str, found)


def hold(given: Sequence[str], context: Context) -> int:
    """Keeps queued jobs from starting."""
    return _each(given, context, applied_wish_rules.held, which=series_runs.NEXT)


def release(given: Sequence[str], context: Context) -> int:
    """Lets held jobs start."""
    return _each(given, context, applied_wish_rules.released(None), which=series_runs.NEXT)


def top(given: Sequence[str], context: Context) -> int:
    """Moves queued jobs before all others."""
    return _each(given, context, applied_wish_rules.put_first(time.time()), which=series_runs.NEXT)


def suspend(given: Sequence[str], context: Context) -> int:
    """Lets running jobs stand still; their CPUs are free, as under Slurm."""
    return _each(given, context, applied_wish_rules.suspended(releases_cpus=True))


def resume(given: Sequence[str], context: Context) -> int:
    """Lets suspended jobs go on."""

    def change(view: View, job: Job) -> Wish | str:
        found = applied_wish_rules.going_on(view, job)
        if isinstance(found, str) and not isinstance(job.phase, Suspended):
            raise Refused(found)
        return found

    return _each(given, context, change)


def requeue(given: Sequence[str], context: Context) -> int:
    """Lets jobs run once more."""
    return _each(_without_options(given), context, _requeued)


def requeue_and_hold(given: Sequence[str], context: Context) -> int:
    """Lets jobs run once more when they are released."""

    def change(view: View, job: Job) -> Wish | str:
        found = _requeued(view, job)
        return found if isinstance(found, str) else found.replace(held=True)

    return _each(_without_options(given), context, change)


def _requeued(view: View, job: Job) -> Wish | str:
    if isinstance(job.phase, Queued):
        raise Refused(f"is {jobs.state(job)}; only a job that has started can be requeued")
    return applied_wish_rules.requeued(view, job)


def _without_options(given: Sequence[str]) -> list[str]:
    """What is not `incomplete` or `state=SpecialExit`, which choose among a cluster's states."""
    return [
        word for word in given if word.lower() not in ("incomplete", "specialexit") and "state=" not in word.lower()
    ]


def _each(given: Sequence[str], context: Context, change: Change, *, which: str | None = None) -> int:
    """Changes the jobs of each word; what cannot be done to one does not keep the others."""
    status = 0
    if not given:
        raise Refused("too few arguments")
    for word in words(given, context):
        try:
            wishes.apply(context, Named(word, which=which), change)
        except Unknown as error:
            render.say(f"{error} for job {word}")
            status = 1
        except Refused as error:
            render.note(f"error: {error}")
            status = 1
    return status
