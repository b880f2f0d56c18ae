"""How the jobs stand that have not ended: how many are in which state, why they wait, and which ones have GPUs.

Works on undecoded records, for there may be very many jobs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import inf, prod
from typing import TYPE_CHECKING, NamedTuple

from gflowd.core.job import reasons
from gflowd.core.job.model import HELD, QUEUED
from gflowd.core.job.records import PHASE, SPEC, WISH, has_ended, is_queued, phase_name
from gflowd.core.syntax import ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Record = Mapping[str, Any]
    Records = Callable[[str], Mapping[Any, Any]]

NOT_YET = (reasons.HELD_BY_USER, reasons.BEGIN_TIME, reasons.RETRY_DELAY)  # such jobs do not wait for others


class LiveJob(NamedTuple):
    """A job that has resources, here or on a `cluster`. `started_at`: None while it starts, or waits there."""

    id: int
    name: str
    user: str
    project: str
    state: str
    gpus: int
    started_at: float | None
    cluster: str | None = None


@dataclass(slots=True)
class Standing:
    """`states` by user, project and state; `waiting` by reason; `oldest`: when the job was submitted that has waited
    longest of those that may start; `ended`: the jobs whose last attempt is over, each with its spec. `until`: when all
    this changes next by itself.
    """

    states: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    waiting: Counter[str] = field(default_factory=Counter)
    live: list[LiveJob] = field(default_factory=list)
    oldest: float | None = None
    ended: list[tuple[int, int]] = field(default_factory=list)
    until: float = inf


@dataclass(frozen=True, slots=True)
class Told:
    """What the daemon said: the `reasons` for which jobs wait, of an array's elements often for the first only, and
    whether it runs.
    """

    runs: bool = False
    reasons: Mapping[int, str] = field(default_factory=dict)


def standing(of: Records, told: Told, now: float) -> Standing:
    """The jobs in a snapshot; `of` gives the records of a kind by id."""
    found, wishes, phases = Standing(), of(WISH), of(PHASE)
    for spec_id, spec in of(SPEC).items():
        first_told = None
        for job_id in ids(spec_id, spec):
            phase = phases.get(job_id)
            if has_ended(phase):
                found.ended.append((spec_id, job_id))
                continue
            if phase is not None and not is_queued(phase):
                _count_live(found, job_id, spec, phase)
                continue
            first_told = told.reasons.get(job_id, first_told)
            reason, until = _reason(spec, wishes.get(job_id) or {}, phase or {}, first_told if told.runs else None, now)
            found.until = min(found.until, until)
            _count_queued(found, spec, reason or (reasons.PRIORITY if told.runs else reasons.DAEMON_DOWN))
    return found


def ids(spec_id: int, spec: Record) -> range:
    """The jobs of a spec."""
    family = spec.get("family")
    if family is None:
        return range(spec_id, spec_id + 1)
    if axes := family.get("axes"):
        return range(spec_id, spec_id + prod(len(axis["rows"]) for axis in axes))
    return range(spec_id, spec_id + sum(map(ranges.length, family.get("ranges", ()))))


def _count_queued(found: Standing, spec: Record, reason: str) -> None:
    state = HELD if reason == reasons.HELD_BY_USER else QUEUED
    found.states[spec["user"], spec.get("project") or "", state] += 1
    found.waiting[reasons.name(reason)] += 1
    if reason not in NOT_YET and (found.oldest is None or spec["submitted_at"] < found.oldest):
        found.oldest = spec["submitted_at"]


def _reason(spec: Record, wish: Record, phase: Record, told: str | None, now: float) -> tuple[str | None, float]:
    """Why a queued job waits, as `gflowctl queue` says, and until when; None: for nothing that is known."""
    if wish.get("cancelled_at") is not None:
        return reasons.CANCELLED_BY_USER, inf
    if wish.get("held"):
        return reasons.HELD_BY_USER, inf
    again = phase.get("begin_at") or 0.0
    if again > now and phase.get("attempt", 1) > 1:
        return reasons.RETRY_DELAY, again
    begin_at = max(again, wish.get("begin_at") or spec.get("begin_at") or 0.0)
    if begin_at > now:
        return reasons.BEGIN_TIME, begin_at
    return told or (reasons.DEPENDENCY if spec.get("needs") else None), inf


def _count_live(found: Standing, job_id: int, spec: Record, phase: Record) -> None:
    user, project, state = spec["user"], spec.get("project") or "", phase_name(phase)
    found.states[user, project, state] += 1
    name = spec.get("name_template") or spec["name"]
    started, run = phase.get("started") or {}, phase.get("run") or {}
    gpus = len(run.get("gpu_ids", ())) + (
        run.get("remote_gpus", 0) if started else 0
    )  # it has none while it waits there
    found.live.append(LiveJob(job_id, name, user, project, state, gpus, started.get("at"), run.get("cluster")))
