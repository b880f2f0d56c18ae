"""The queue: jobs that run, then those that wait in the order in which they are to start, then those that ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from gflowctl.output import descriptions, job_counts
from gflowctl.output.columns import FIELDS
from gflowctl.view import folding, jobs, views
from gflowctl.view import reasons as why_jobs
from gflowctl.web.pages import gpus
from gflowctl.web.pages.frame import Page, Query, number, one
from gflowd.core.job.model import CANCELLED, ENDED_STATES, HELD, QUEUED, STATES, Begun, Ended
from gflowd.core.job.records import PHASE, SPEC, WISH, is_live, is_queued
from gflowd.core.syntax import durations, memory
from gflowd.storage.history_queries import Choice

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gflowctl.view.progress import Progress
    from gflowctl.view.views import View
    from gflowd.core.job.model import Job

LIMIT = 100  # rows
LIVE, OVER, ALL = "live", "ended", "all"
LOOKED_THROUGH = 2000  # specs of the history that a text is looked for in
CHOICES = (
    (LIVE, "queued and running"), *((state, state) for state in STATES if state not in ENDED_STATES), (OVER, "ended"),
    *((state, state) for state in ENDED_STATES), (ALL, "all"),
)  # fmt: skip
FRAGMENTS = ("machine", "jobs")


@dataclass(frozen=True, slots=True)
class Filter:
    """What the reader asked for."""

    state: str
    text: str
    user: str
    first: int

    @property
    def shows_ended(self) -> bool:
        return self.state in (OVER, ALL, *ENDED_STATES)

    def link(self, **changes: object) -> str:
        """The address of the queue with some of it changed."""
        values = {"state": self.state, "q": self.text, "user": self.user, "from": self.first, **changes}
        told = {name: value for name, value in values.items() if value and (name, value) != ("state", LIVE)}
        return f"/?{urlencode(told)}" if told else "/"


@dataclass(frozen=True, slots=True)
class Row:
    """One job, or elements of an array that wait alike."""

    label: str  # in words
    key: str  # in addresses
    name: str
    user: str
    project: str
    state: str
    time: str
    limit: str
    left: str
    gpus: int
    cpus: int
    memory: str
    place: str  # GPUs that it has
    reason: str
    meaning: str
    start: str
    rank: str
    command: str
    progress: float | None  # per cent
    progress_text: str
    is_alone: bool
    may: tuple[str, ...]  # what can be done to it


def build(view: View, query: Query) -> Page:
    """`state`, `q` (part of a name, user, project or command, or an id), `user`, `from` (the first row)."""
    states = dict(CHOICES)
    wanted = Filter(
        one(query, "state") if one(query, "state") in states else LIVE,
        one(query, "q").strip()[:200], one(query, "user").strip()[:100], number(query, "from"),
    )  # fmt: skip
    found = _found(view, wanted)
    shown = found[wanted.first : wanted.first + LIMIT]
    rows = [row(view, job_id, label, many) for job_id, label, many in shown]
    jobs_found = sum(many for _, _, many in found)
    values = {
        "filter": wanted, "choices": CHOICES, "rows": rows, "found": jobs_found, "rows_found": len(found),
        "first": wanted.first + 1, "last": wanted.first + len(shown),
        "more": wanted.link(**{"from": wanted.first + LIMIT}) if len(found) > wanted.first + LIMIT else None,
        "before": wanted.link(**{"from": max(0, wanted.first - LIMIT)}) if wanted.first else None,
        "counts": _counts(view), "machine": machine(view),
        "users": sorted({raw["user"] for raw in view.records.of(SPEC).values()}),
    }  # fmt: skip
    return Page("queue", "Queue", "queue", values, FRAGMENTS)


def _counts(view: View) -> list[tuple[str, int]]:
    numbers = views.numbers(view, [job_id for job_id in view.ids() if not view.has_ended(job_id)])
    return [(state, numbers[state]) for state in job_counts.ORDER if state not in ENDED_STATES and numbers.get(state)]


def machine(view: View) -> dict[str, Any]:
    """The GPUs, CPUs and memory at a glance."""
    seen = view.observed
    return {
        "gpus": [gpus.brief(view, gpu) for gpu in seen.gpus], "busy": job_counts.busy(seen.gpus),
        "cpus": seen.cpus, "used_cpus": seen.used_cpus or 0,
        "memory": None if seen.memory_mb is None else memory.about(seen.memory_mb),
        "used_memory": memory.about(seen.used_memory_mb or 0),
    }  # fmt: skip


def _found(view: View, wanted: Filter) -> Sequence[folding.Row]:
    """The rows in their order. Jobs that have never started are judged by their records: decoding costs more."""
    if wanted.shows_ended and view.has_history:
        enough = LOOKED_THROUGH if wanted.text else wanted.first + LIMIT + 1
        states = (wanted.state,) if wanted.state in ENDED_STATES else ()
        view.recall(Choice((wanted.user,) if wanted.user else (), states=states, limit=-enough))
    ids: Iterable[int] = view.ids()
    if wanted.user:
        ids = view.owned(ids, {wanted.user})
    if wanted.state != ALL:
        ids = [job_id for job_id in ids if view.has_ended(job_id) == wanted.shows_ended]
    if wanted.text:
        ids = _matching(view, ids, wanted.text.lower())
    rows = folding.fold(view, ids) if view.families else [(job_id, None, 1) for job_id in ids]
    if wanted.state not in (LIVE, OVER, ALL):
        rows = [row for row in rows if _state(view, row[0]) == wanted.state]
    return sorted(rows, key=lambda row: _place(view, row[0]))


def _state(view: View, job_id: int) -> str:
    """As `jobs.state`."""
    phase, wish = view.records.of(PHASE).get(job_id), view.records.of(WISH).get(job_id)
    return QUEUED if phase is None and wish is None else jobs.state(view.job(job_id))


def _matching(view: View, ids: Iterable[int], text: str) -> list[int]:
    specs = view.records.of(SPEC)
    known: dict[int, bool] = {}

    def matches(job_id: int) -> bool:
        spec_id = view.spec_of(job_id)
        if text in (str(job_id), str(spec_id)):
            return True
        if spec_id not in known:
            raw = specs[spec_id]
            said = (raw.get("name"), raw.get("name_template"), raw["user"], raw.get("project"), *raw["command"])
            known[spec_id] = any(text in each.lower() for each in said if each)
        return known[spec_id]

    return [job_id for job_id in ids if matches(job_id)]


def _place(view: View, job_id: int) -> tuple[float, float]:
    phase, wish = view.records.of(PHASE).get(job_id), view.records.of(WISH).get(job_id) or {}
    if is_live(phase):
        return 0, job_id
    if view.has_ended(job_id):
        ended = (phase or {}).get("ended_at") or wish.get("cancelled_at") or 0
        return 4, -ended
    if wish.get("held"):
        return 3, job_id
    rank = view.ranks.get(job_id) if is_queued(phase) else None
    return (2, job_id) if rank is None else (1, rank)


def row(view: View, job_id: int, label: str | None = None, many: int = 1) -> Row:
    """A job; with a `label` it stands for so many elements of its array, named together."""
    job = view.job(job_id)
    spec, state, why = job.spec, jobs.state(job), why_jobs.reason(view, job)
    rank = why_jobs.rank(view, job)
    left = view.time_left(job)
    progress = view.progress(job) if isinstance(job.phase, Begun) else None
    return Row(
        label=label or jobs.label(job), key=jobs.label(job) if label is None else str(job.array_id),
        name=spec.name if label is not None else jobs.name(job), user=spec.user, project=spec.project or "",
        state=state, time=FIELDS["TIME"].text(view, job) if jobs.started_at(job) is not None else "",
        limit="" if spec.time_limit is None else durations.clock(spec.time_limit),
        left="" if left is None else durations.clock(left),
        gpus=spec.gpus, cpus=spec.cpus, memory="" if spec.memory_mb is None else memory.show(spec.memory_mb),
        place=",".join(map(str, job.run.gpu_ids)) if job.run is not None else "",
        reason=why or "", meaning=meaning(why), start=_start(view, job), rank="" if rank is None else str(rank),
        command=descriptions.command_line(spec.command if label is not None else jobs.command(job))[:300],
        progress=None if progress is None else round(100 * progress.fraction, 1),
        progress_text="" if progress is None else _progress(view, progress),
        is_alone=many == 1, may=may(view, job),
    )  # fmt: skip


def _progress(view: View, found: Progress) -> str:
    """`40 %, epoch 4/10, ends ~18:30`."""
    parts = [f"{100 * found.fraction:.0f} %", found.text]
    if found.expected_end is not None:
        parts.append(f"ends ~{view.clock.near(found.expected_end, view.now)}")
    return ", ".join(filter(None, parts))


def meaning(why: str | None) -> str:
    """What a reason means, in a few words; empty where the reason says it."""
    return descriptions.REASONS.get((why or "").split(":", maxsplit=1)[0], "")


def _start(view: View, job: Job) -> str:
    """When it is to start, with `~` for an estimate; of an ended one when it ended."""
    if isinstance(job.phase, Ended) or jobs.state(job) == CANCELLED:
        ended = jobs.ended_at(job)
        return "" if ended is None else view.clock.near(ended, view.now)
    began = jobs.started_at(job)
    if began is not None:
        return view.clock.near(began, view.now)
    promised, estimated = why_jobs.promised_start(view, job), why_jobs.estimated_start(view, job)
    if promised is not None:
        return f"by {view.clock.near(promised, view.now)}"
    return "" if estimated is None else f"~{view.clock.near(estimated, view.now)}"


def may(view: View, job: Job) -> tuple[str, ...]:
    """What can be done to a job, by the names of the actions."""
    state, found = jobs.state(job), []
    if state in (QUEUED, HELD):
        found.append("release" if state == HELD else "hold")
    if not view.has_ended(job.id) and job.wish.cancelled_at is None:
        found.append("cancel")
    return (*found, "redo")
