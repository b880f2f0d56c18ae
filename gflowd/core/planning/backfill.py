"""Which queued jobs start now, on which GPUs, and why each of the others waits. Pure: state in, plan out.

Backfill with a promise, after EASY (D. Lifka, The ANL/IBM SP scheduling system, 1995). Only a job that has waited
long for its length gets one (S. Srinivasan et al., Selective Reservation Strategies for Backfill Job Scheduling, 2002).
What the first such job needs is kept for it from the earliest possible time on, and a job behind it starts now only if
it does not delay it. No job delays a waiting job of higher priority.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations, islice
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from gflowd.core.accounting.runtimes import ASSUMED, GUESS, Length
from gflowd.core.job import reasons
from gflowd.core.planning import promises, reservation_gaps
from gflowd.core.planning.occupancy import hold, owner_of
from gflowd.core.planning.promises import Promise
from gflowd.core.planning.reservation_gaps import LEAST
from gflowd.core.queue.order import band, shape
from gflowd.core.request.validation import why_impossible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gflowd.core.accounting.quotas import Ledger
    from gflowd.core.job.model import Job, Spec
    from gflowd.core.planning.occupancy import Occupancy
    from gflowd.core.planning.reservations import Owner
    from gflowd.core.queue.order import Band

PATIENCE = 10.0  # multiple of `promise_within` by which a start may fall behind its first estimate
LATE = 5.0  # seconds after which a poll of the GPUs counts as hung
OPTIONS = 256  # sets of GPUs that are tried if the choice matters: all sets of up to eight GPUs
GUARDS = 32  # waiting jobs of a priority that no job of lower priority may delay

_FOR_RESOURCES = (reasons.RESOURCES, reasons.RESERVATION, reasons.PRIORITY)


def limit_or_guess(job: Job) -> Length:
    """The length of a job if no run times are known."""
    return Length(ASSUMED, GUESS) if job.spec.time_limit is None else Length(job.spec.time_limit)


class Look(NamedTuple):
    """A job was to get these GPUs at the time `since`, after a poll of them."""

    gpus: tuple[int, ...]
    since: float


@dataclass(frozen=True, slots=True)
class Rules:
    """How to plan.

    `depth`: stop after this many different requests that cannot be met; `gpus_are_fresh`: they have just been polled
    and may be allocated; `choose`: picks the GPUs of a job from the candidates; `length`: the length of a job; `ready`:
    since when it waits; `promised`: the jobs with a promise, and their latest start, if known; `estimated`: the first
    expected start of the other promised jobs; `looking`: the jobs that will start after a poll of their GPUs. A new
    promise goes to a job that has waited `promise_after` times as long as it will run, or `promise_within` seconds.
    `rule_out` is called with each job that cannot start and the length (seconds) from which similar jobs cannot start
    either (True: only those of its user); `enough` is called when only promised jobs are still wanted.
    """

    depth: int
    gpus_are_fresh: bool = True
    ledger: Ledger | None = None
    choose: Callable[[Job, Sequence[int], int], tuple[int, ...]] | None = None
    length: Callable[[Job], Length] = limit_or_guess
    ready: Callable[[Job], float] = lambda job: job.spec.submitted_at
    promised: Mapping[int, float | None] = field(default_factory=dict)
    estimated: Mapping[int, float] = field(default_factory=dict)
    looking: Mapping[int, Look] = field(default_factory=dict)
    promise_after: float = 1.0
    promise_within: float = inf
    rule_out: Callable[[Job, float, bool], None] = lambda *_: None
    enough: Callable[[], None] = lambda: None


@dataclass(slots=True)
class Plan:
    """`starts`: job and GPUs, in order; `reasons`: of the considered jobs that wait, in order; `impossible`: jobs that
    can never start, and why; `wants_gpu`: jobs that will start after a poll of their GPUs; `handed`: jobs that go to a
    cluster now, by its name, which others have decided.

    `why(job)`: the reason of any job of the queue that does not start. `shorter(job)`: by when it would have to end to
    start now, or the longest duration in seconds with which it can ever start. `guarded`: the waiting jobs that no job
    of lower priority may delay. `promise_due`: when a job will have waited long enough for a promise. Wall times.
    """

    starts: list[tuple[Job, tuple[int, ...]]] = field(default_factory=list)
    reasons: dict[int, str] = field(default_factory=dict)
    impossible: list[tuple[Job, str]] = field(default_factory=list)
    wants_gpu: dict[int, Look] = field(default_factory=dict)
    promises: list[Promise] = field(default_factory=list)
    guarded: list[int] = field(default_factory=list)
    promise_due: float | None = None
    handed: list[tuple[Job, str]] = field(default_factory=list)
    why: Callable[[Job], str | None] = lambda _: None
    shorter: Callable[[Job], tuple[float | None, float | None]] = lambda _: (None, None)


def plan(queue: Iterable[Job], room: Occupancy, rules: Rules) -> Plan:
    """Decides on `queue`, which is in order and contains no job that is held or waits for another; those of
    `rules.looking` come after the promised ones of their priority, and once more in their places. Consumes `room`.
    """
    planner = _Planner(room, rules)
    for job in queue:
        if planner.tried >= rules.depth and job.id not in rules.promised:
            rules.enough()
        else:
            planner.consider(job)
    return planner.finish()


class _Failure(NamedTuple):
    """Why a job, and every other of its shape that takes at least as long, cannot start."""

    length: float
    reason: str


class _Planner:
    def __init__(self, room: Occupancy, rules: Rules) -> None:
        self.plan = Plan()
        self.tried = 0
        self._room = room
        self._rules = rules
        self._limits = room.capacity.limits
        self._failed: dict[object, _Failure] = {}  # what can no longer start, by shape
        self._looking = dict(rules.looking)
        first = min((look.since for look in rules.looking.values()), default=inf)
        self._hangs = not rules.gpus_are_fresh and room.now > first + LATE
        self._placed: set[int] = set()
        self._band: Band | None = None
        self._waiting: list[Job] = []  # of the band, for resources
        self._is_promised = False  # a job of the band
        self._kept: list[tuple[Spec, float | None, float | None]] = []  # for which job, from when: known, expected
        self._later: list[set[int]] | None = None  # the GPUs that each of these could use
        self._namesakes: dict[str, set[int | None]] | None = None  # the ids for which reservations are, by name
        self._ever: dict[object, bool] = {}  # whether there is ever a gap between reservations

    def consider(self, job: Job) -> None:
        """Starts a job or returns the reason why not."""
        if job.id in self._placed:
            return
        self._enter(band(job))
        if job.id in self._looking and job.id not in self._rules.promised:
            self._resume(job, self._looking.pop(job.id))
            return
        known = self._failed.get(self._key(job.spec))  # a job that could not start once is not impossible
        impossible = why_impossible(job.spec, self._limits) if known is None else None
        if impossible is not None:
            self.plan.impossible.append((job, impossible))
        elif job.begin_at is None or job.begin_at <= self._room.now:  # else gflowctl finds that out itself
            self._try(job, known)

    def finish(self) -> Plan:
        """The plan. Makes no new promise that a pending poll of the GPUs may change."""
        made = self.plan
        made.why, made.shorter = self._why, self._shorter
        if made.wants_gpu:
            made.promises = [each for each in made.promises if each.job.id in self._rules.promised]
        return made

    def _resume(self, job: Job, look: Look) -> None:
        """A job that was to start after a poll of its GPUs gets these, or others, before jobs queued since. If it can
        no longer have any, or the poll hangs, it waits like other jobs.
        """
        length = self._rules.length(job)
        if not self._hangs and self._refusal(job, length) is None:
            found = self._place(job, length, look)
            if not isinstance(found, str):
                self._start(job, found, length, look.since)

    def _try(self, job: Job, known: _Failure | None) -> None:
        length = self._rules.length(job)
        why = self._refusal(job, length)
        if why is not None:
            least = 0.0 if why in (reasons.QUOTA, reasons.NEVER_QUOTA) else length.seconds
            self._rule_out(job, least, personal=True)
        else:
            if known is None or length.seconds < known.length:
                found = self._place(job, length)
                if not isinstance(found, str):
                    self._start(job, found, length)
                    return
                known = self._fail(job, found, length)
            why = known.reason
            if why in _FOR_RESOURCES:
                self._waiting.append(job)
        self._promise(job, length, why)
        if len(self.plan.reasons) < self._rules.depth:
            self.plan.reasons[job.id] = why

    def _refusal(self, job: Job, length: Length) -> str | None:
        """Why a job cannot start, even if everything is free."""
        spec, ledger = job.spec, self._rules.ledger
        if ledger is not None and not ledger.admits(spec):
            return reasons.QUOTA if ledger.can_ever(spec) else reasons.NEVER_QUOTA
        if self._room.windows:
            key = shape(spec), owner_of(spec), length.seconds
            if key not in self._ever:
                self._ever[key] = reservation_gaps.can_ever(self._room, spec, length.seconds)
            if not self._ever[key]:
                return reasons.NEVER_RESERVATION
        return None

    def _fail(self, job: Job, why: str, length: Length) -> _Failure:
        """Who ends later is in the way of promises and reservations as well; what is short is so for any time."""
        self.tried += why != reasons.GPU_UNAVAILABLE
        failure = _Failure(length.seconds if why in (reasons.PRIORITY, reasons.RESERVATION) else 0.0, why)
        key = self._key(job.spec)
        self._failed[key] = failure
        self._rule_out(job, failure.length, personal=key[1] is not None)
        return failure

    def _rule_out(self, job: Job, length: float, *, personal: bool) -> None:
        """Not where reservations tell its user from another who has, or had, the name."""
        if self._namesakes is None:
            named = {each.owner for each in self._room.windows if each.uid is not None}
            self._namesakes = {name: {uid for other, uid in named if other == name} for name, _ in named}
        ids = self._namesakes.get(job.spec.user) if personal else None
        if ids is None or ids == {job.spec.uid}:
            self._rules.rule_out(job, length, personal)

    def _key(self, spec: Spec) -> tuple[object, Owner | None]:
        """The key of known failures; includes the user if the owner matters."""
        ledger = self._rules.ledger
        is_personal = bool(self._room.windows) or (ledger is not None and ledger.is_needed)
        return shape(spec), owner_of(spec) if is_personal else None

    def _place(self, job: Job, length: Length, look: Look | None = None) -> tuple[int, ...] | str:
        """The GPUs that a job can have now, or why it cannot start; prefers those of a `look`."""
        spec, room = job.spec, self._room
        if spec.gpus and (room.capacity.gpus is None or room.suitable(spec) < spec.gpus):
            return reasons.GPU_UNAVAILABLE
        if min(room.slack(spec, room.now)) < 0:
            return reasons.RESOURCES
        end = room.now + length.seconds
        found = room.candidates(spec, room.now, end) if spec.gpus else []
        if len(found) < spec.gpus:
            whatever = room.candidates(spec, room.now, end, reserved=True)
            return reasons.RESOURCES if len(whatever) < spec.gpus else reasons.RESERVATION
        options = self._options(job, found, end)
        if look is not None and set(look.gpus) <= set(found):
            options.insert(0, look.gpus)
        return self._best(job, options, length, room.now if look is None else look.since)

    def _end(self, spec: Spec, length: Length, since: float) -> float:
        """When a job will have ended that got GPUs at the time `since`, to be polled first."""
        if spec.gpus and not self._rules.gpus_are_fresh:
            return since + LATE + length.seconds
        return self._room.now + length.seconds

    def _best(self, job: Job, options: list[tuple[int, ...]], length: Length, since: float) -> tuple[int, ...] | str:
        """The first set that all reservations and promises allow, or why there is none."""
        spec, room, end = job.spec, self._room, self._end(job.spec, length, since)
        why = reasons.RESERVATION
        for gpus in options:
            if room.leaves_enough(spec, gpus, room.now, end):
                if self._leaves_quotas(spec, end, length) and room.spares(
                    hold(spec, gpus, end, certain=length.is_certain)
                ):
                    return gpus
                why = reasons.PRIORITY
        return why

    def _leaves_quotas(self, spec: Spec, end: float, length: Length) -> bool:
        """Whether the quotas still allow the promised jobs if this job runs."""
        ledger = self._rules.ledger
        if ledger is None or not ledger.is_needed:
            return True
        return all(
            at is None
            or ledger.admits_beside(its, spec, inf if certain and not length.is_certain else end, at, certain=certain)
            for its, *times in self._kept
            for at, certain in zip(times, (True, False), strict=True)
        )

    def _options(self, job: Job, found: list[int], end: float) -> list[tuple[int, ...]]:
        """The sets of GPUs worth considering, best first: only one if the choice makes no difference to other jobs."""
        count = job.spec.gpus
        later = self._wanted_later() if count and any(at < end for at in self._room.kept_times()) else []
        if not later:
            best = self._chosen(job, found)
        else:  # first what the promised jobs cannot use
            uses = {index: sum(index in each for each in later) for index in found}
            free = [index for index in found if not uses[index]]
            needed = sorted((index for index in reversed(found) if uses[index]), key=lambda index: uses[index])
            best = self._chosen(job, free if len(free) >= count else [*free, *needed[: count - len(free)]])
        options = [best]
        if count and (job.spec.shared or self._room.windows or len(self._kept) > 1):
            options += islice(combinations(found, count), OPTIONS)
        return [self._preferred(job, found), *options] if count and job.spec.gpu_prefer else options

    def _preferred(self, job: Job, found: Sequence[int]) -> tuple[int, ...]:
        """The GPUs that a job would rather have, of all that it can have now; among those that it likes as well as each
        other, the usual choice.
        """
        liked: dict[int, list[int]] = {}
        places = {each.index: each.preference(job.spec.gpu_prefer) for each in self._room.capacity.gpus or ()}
        for index in found:
            liked.setdefault(places[index], []).append(index)
        chosen: list[int] = []
        for place in sorted(liked):
            wanted = job.spec.gpus - len(chosen)
            chosen += liked[place] if len(liked[place]) <= wanted else self._chosen(job, liked[place], wanted)
        return tuple(sorted(chosen))

    def _wanted_later(self) -> list[set[int]]:
        if self._later is None:
            self._later = self._room.wanted_later()
        return self._later

    def _chosen(self, job: Job, found: list[int], wanted: int | None = None) -> tuple[int, ...]:
        count, choose = job.spec.gpus if wanted is None else wanted, self._rules.choose
        if choose is None or job.spec.shared or self._room.windows or count in (0, len(found)):
            return tuple(sorted(found[:count]))
        return choose(job, sorted(found), count)

    def _start(self, job: Job, gpus: tuple[int, ...], length: Length, since: float | None = None) -> None:
        """Allocates what a job asks for, or keeps it: `since` when, if that was decided before."""
        is_looked_at = bool(gpus) and not self._rules.gpus_are_fresh
        decided = self._room.now if since is None else since
        end = self._end(job.spec, length, decided)
        self._room.take(hold(job.spec, gpus, end, certain=length.is_certain))
        self._later = None
        self._placed.add(job.id)
        if self._rules.ledger is not None:
            self._rules.ledger.start(job.spec, end, certain=length.is_certain)
        if is_looked_at:  # allocated to it: no job behind it may have them meanwhile
            self.plan.wants_gpu[job.id] = Look(gpus, decided)
            self.plan.reasons[job.id] = reasons.RESOURCES
        else:
            self.plan.reasons.pop(job.id, None)
            self.plan.starts.append((job, gpus))

    def _promise(self, job: Job, length: Length, why: str) -> None:
        """Keeps the resources of a job that has a promise, or will get one."""
        if job.id not in self._rules.promised:
            if self._is_promised or why not in _FOR_RESOURCES or not self._deserves(job, length):
                return
        elif why not in (*_FOR_RESOURCES, reasons.QUOTA) and not (
            why == reasons.GPU_UNAVAILABLE and self._room.is_doubtful
        ):
            self.plan.promises.append(Promise(job, None, None, why))
            return
        at, expected = self._keep(job, length)
        if at is None and expected is None and job.id not in self._rules.promised:
            return  # a job whose time is not known takes no other job's place
        self._is_promised = True
        self.plan.promises.append(Promise(job, at, expected, why))

    def _deserves(self, job: Job, length: Length) -> bool:
        rules = self._rules
        due = promises.due(rules.ready(job), length.seconds, rules.promise_after, rules.promise_within)
        if due > self._room.now:
            self.plan.promise_due = due if self.plan.promise_due is None else min(due, self.plan.promise_due)
        return due <= self._room.now

    def _keep(self, job: Job, length: Length) -> tuple[float | None, float | None]:
        """Keeps what a job needs from the earliest time on that is known, and from that which is expected."""
        spec, room = job.spec, self._room
        is_known = room.is_known
        at = self._earliest(spec, length, certain=True)
        if at is None or not (is_known or room.is_doubtful):
            expected = self._earliest(spec, length, certain=False)
        else:
            expected = at
        told = self._rules.promised.get(job.id) if at is None and room.is_doubtful else None
        if expected is not None and told is not None:  # it is not expected earlier than was promised
            expected = max(expected, told)
        if at is not None:  # the end of a job without a limit is not known
            room.keep(spec, at, at + length.seconds if length.is_certain else inf, certain=True)
        if expected is not None:
            judged = self._judged(job, length) if at is None else None
            until = expected + length.seconds
            room.keep(spec, expected, until, certain=False, judged=judged, known=told is not None)
        self._kept.append((spec, at, expected))
        self._later = None
        return at, expected

    def _judged(self, job: Job, length: Length) -> float | None:
        """By when others must have ended to pass a job that has only an estimate; None: by the estimate. If the first
        estimate was far too early, by that one: otherwise ever new jobs could pass and put the job off forever.
        """
        first = self._rules.estimated.get(job.id)
        late = PATIENCE * max(self._rules.promise_within, length.seconds)
        return first if first is not None and self._room.now > first + late else None

    def _earliest(self, spec: Spec, length: Length, *, certain: bool) -> float | None:
        """When a job can start; None if not known."""
        ledger = self._rules.ledger
        admits = None if ledger is None or not ledger.is_needed else _admitted(ledger, spec, certain=certain)
        at = self._room.earliest(spec, length.seconds, certain=certain, admits=admits)
        return None if at == inf else at

    def _enter(self, each: Band) -> None:
        """To the jobs of another priority, which delay none of those that wait."""
        if each == self._band:
            return
        self._band = each
        kept = {promise.job.id for promise in self.plan.promises}
        for job in self._waiting:
            if job.id not in kept and len(self.plan.guarded) < GUARDS:
                self._keep(job, self._rules.length(job))
                self.plan.guarded.append(job.id)
        self._waiting.clear()
        self._is_promised = False

    def _why(self, job: Job) -> str | None:
        if job.id in self.plan.reasons:
            return self.plan.reasons[job.id]
        if job.begin_at is not None and job.begin_at > self._room.now:
            return None
        length = self._rules.length(job)
        known = self._failed.get(self._key(job.spec))
        refusal = self._refusal(job, length)
        if refusal is not None:
            return refusal
        return known.reason if known is not None and length.seconds >= known.length else reasons.PRIORITY

    def _shorter(self, job: Job) -> tuple[float | None, float | None]:
        spec, room = job.spec, self._room
        most = inf if spec.time_limit is None else spec.time_limit
        owner = owner_of(spec)
        edges = {each.start for each in room.windows if not each.is_for(owner)} | set(room.kept_times())
        slack = self._end(spec, Length(0.0), room.now) - room.now
        for at in sorted((at - slack for at in edges if LEAST <= at - slack - room.now < most), reverse=True):
            length = Length(at - room.now)
            limited = job.replace(spec=spec.replace(time_limit=length.seconds))
            if self._refusal(limited, length) is None and not isinstance(self._place(limited, length), str):
                return at, None
        return None, reservation_gaps.longest(room, spec)


def _admitted(ledger: Ledger, spec: Spec, *, certain: bool) -> Callable[[float], bool]:
    return lambda at: ledger.admits(spec, at, certain=certain)
