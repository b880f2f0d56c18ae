"""Whether a job's dependencies are satisfied, may be later, or never will be. Takes the jobs' outcomes and the time.

The rules are those of sbatch(1) for `--dependency`, and of Slurm's page on job arrays for a whole array: `afternotok`
waits until all elements have ended and at least one is not finished. Where these say nothing: `afterok` is lost with
the first element that ends without finishing; `after` waits until all have started, and its delay counts from the last
start.
"""

from __future__ import annotations

from gflowd.core.errors import Refused
from gflowd.core.job.dependencies import AFTER, AFTERANY, AFTERNOTOK, AFTEROK, ALL, Dependency, Needs
from gflowd.core.job.model import FINISHED, Ended, Phase, Running, Stopping, Suspended
from gflowd.core.job.value_base import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    # What is known of the jobs that a dependency names; of `singleton`: `Outcome(jobs=n)`, the n jobs of the same name
    # and user that are live or were queued earlier.
    Look = Callable[[Dependency], "Outcome"]


class Outcome(Value):
    """How many of the jobs that a dependency names have begun, ended and finished. `jobs` 0: none is known.

    `begun`: started, or ended without starting; `begun_at` and `ended_at`: when the last of these did, in seconds since
    the epoch, if known. A job counts by its present attempt: one that is queued again has not begun.
    """

    __slots__ = ("begun", "begun_at", "ended", "ended_at", "finished", "jobs")

    def __init__(
        self,
        *,
        jobs: int = 1,
        begun: int = 0,
        begun_at: float | None = None,
        ended: int = 0,
        ended_at: float | None = None,
        finished: int = 0,
    ) -> None:
        self.jobs: Final = jobs
        self.ended_at: Final = ended_at
        self.begun: Final = begun
        self.begun_at: Final = begun_at
        self.ended: Final = ended
        self.finished: Final = finished


class Satisfied(Value):
    """The dependency is satisfied."""

    __slots__ = ()


class Waiting(Value):
    """It may still be satisfied. `until`: when it may be without any event, seconds since the epoch."""

    __slots__ = ("until",)

    def __init__(self, until: float | None = None) -> None:
        self.until: Final = until


class Never(Value):
    """It can no longer be satisfied, because of the job or array `id`."""

    __slots__ = ("id",)

    def __init__(self, id: int) -> None:  # noqa: A002 -- the field's name
        self.id: Final = id


Verdict = Satisfied | Waiting | Never

UNKNOWN = Outcome(jobs=0)
SATISFIED = Satisfied()
WAITING = Waiting()


def of(phase: Phase) -> Outcome:
    """The outcome of one job."""
    match phase:
        case Ended():
            begun_at = phase.ended_at if phase.started_at is None else phase.started_at
            finished = int(phase.state == FINISHED)
            return Outcome(begun=1, begun_at=begun_at, ended=1, ended_at=phase.ended_at, finished=finished)
        case Running(started=started) | Suspended(started=started) | Stopping(started=started) if started is not None:
            return Outcome(begun=1, begun_at=started.at)
        case _:
            return Outcome()


def moved(whole: Outcome, before: Outcome, after: Outcome) -> Outcome:
    """The outcome of an array when one of its elements goes from `before` to `after`, without reading the others."""
    return Outcome(
        jobs=whole.jobs,
        begun=whole.begun - before.begun + after.begun,
        begun_at=_latest(whole.begun_at, after.begun_at),
        ended=whole.ended - before.ended + after.ended,
        ended_at=_latest(whole.ended_at, after.ended_at),
        finished=whole.finished - before.finished + after.finished,
    )


def _latest(*times: float | None) -> float | None:
    return max((at for at in times if at is not None), default=None)


def met_at(dependency: Dependency, outcome: Outcome) -> float | None:
    """When a satisfied dependency was satisfied; None if not known."""
    if dependency.kind == AFTER and outcome.begun_at is not None:
        return outcome.begun_at + dependency.delay
    return outcome.ended_at


def judge(needs: Needs, look: Look, now: float) -> Verdict:
    """The verdict on a job with `needs`; `Never` names the first lost dependency."""
    verdicts = [judge_one(each, look(each), now) for each in needs.dependencies]
    lost = next((verdict for verdict in verdicts if isinstance(verdict, Never)), None)
    waiting = [verdict for verdict in verdicts if isinstance(verdict, Waiting)]
    is_any = any(isinstance(verdict, Satisfied) for verdict in verdicts)
    decided = combined(needs.mode, is_any=is_any, is_open=bool(waiting), lost=lost)
    return decided or Waiting(min((each.until for each in waiting if each.until is not None), default=None))


def combined(mode: str, *, is_any: bool, is_open: bool, lost: Never | None) -> Satisfied | Never | None:
    """The verdict on several dependencies; None: they wait. `is_any` is satisfied, `is_open`: some is undecided;
    `lost` is the first that can never be satisfied.
    """
    if mode == ALL:
        return lost or (None if is_open else SATISFIED)
    return SATISFIED if is_any else None if is_open else lost or SATISFIED


def judge_one(dependency: Dependency, outcome: Outcome, now: float) -> Verdict:
    """The verdict on one dependency. A dependency on unknown jobs is never satisfied."""
    over = outcome.ended == outcome.jobs
    failed = outcome.ended > outcome.finished
    if dependency.id is None:
        return SATISFIED if over else WAITING
    if dependency.kind == AFTER and outcome.jobs:
        return _judge_after(dependency, outcome, now)
    if dependency.kind == AFTERANY:
        came, lost = over, False
    elif dependency.kind == AFTERNOTOK:
        came, lost = over and failed, over
    else:
        came, lost = over and not failed, failed
    if came and outcome.jobs:
        return SATISFIED
    return Never(dependency.id) if lost or not outcome.jobs else WAITING


def _judge_after(dependency: Dependency, outcome: Outcome, now: float) -> Verdict:
    if outcome.begun < outcome.jobs or outcome.begun_at is None:
        return WAITING
    until = outcome.begun_at + dependency.delay
    return SATISFIED if until <= now else Waiting(until)


def corresponding(dependency: Dependency, index: int | None, find: Callable[[int], int | None] | None) -> Dependency:
    """What `aftercorr` means for the element `index` of an array (None: for a single job): an `afterok`.

    `find`: from an index to the id of that element of the other array; None if that is a single job. Then, as in
    sbatch(1), and for a job without an index, the whole of it counts. Raises `Refused` if there is no such element.
    """
    if index is None or find is None:
        return dependency.replace(kind=AFTEROK)
    element = find(index)
    if element is None:
        raise Refused(f"aftercorr:{dependency.id}: array {dependency.id} has no element {index}")
    return dependency.replace(kind=AFTEROK, id=element, element=True)
