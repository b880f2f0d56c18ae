"""Makes pictures of the queue, each from what has changed since the last. Reads; draws and writes nothing.

A row is made again when the records of its job were touched, when the daemon says something else of it, and at each
picture while it is live. What becomes otherwise without any of this (a dependency that is met while gflowd is down) is
found by going round: at each picture some rows are made again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gflowctl.machine import drain, explanations, gpus, job_details
from gflowctl.monitor.screen_contents import PLACE, PROGRESS, TITLES, Details, GpuLine, Picture, Row
from gflowctl.output import columns, descriptions, follow, job_counts, render
from gflowctl.view import folding, jobs, reasons, views
from gflowd.core.job.model import ENDED_STATES, HELD, SHORT_STATES, STATES, Ended, Queued, is_live
from gflowd.core.job.reasons import SCHEDULING
from gflowd.core.syntax import durations

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gflowctl.context import Context
    from gflowctl.monitor.job_filter import Choice
    from gflowctl.view.views import View
    from gflowd.core.job.model import Job
    from gflowd.storage.observed_reader import SeenGpu

REMAINS = 600.0  # seconds: for so long a job that has ended is still listed
FIRST = 200  # rows of the first picture: as many as fit on a screen
ROUND = 50  # rows that are made again at each picture, whatever happened
MOVING = frozenset(("TIME", "TIMELEFT"))  # fields that time alone changes

Shape = tuple[int, "str | None", "Sequence[int]"]  # a job, how it is named with others, and all that it stands for


class Explainer(explanations.Explainer):
    """Explains from a view that has all jobs."""

    @property
    def whole(self) -> View:
        return self._view


class Reader:
    """Follows one snapshot. Mutable, for one thread."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.view: View | None = None
        self._watch = follow.Watch(context)
        self._rows: dict[int, Row] = {}
        self._moving: list[Shape] = []  # whose rows are made again at each picture
        self._shapes: list[Shape] = []
        self._endings: dict[int, float] = {}  # when jobs ended
        self._wants_ended = False
        self._is_renewed = True  # what the daemon saw is other than in the last picture
        self._told: tuple[dict[int, str], dict[int, float]] = ({}, {})
        self._daemon_ran = False
        self._soonest = 0.0  # when the first of the ended jobs that are still listed is to go
        self._turn = 0
        self._asked: tuple[Choice, str] | None = None
        self._picture = Picture()

    def changed(self) -> bool:
        """Whether the snapshot or what the daemon saw are others than in the last picture."""
        self._renew()
        return self._watch.changed() or self._is_renewed

    @property
    def moves(self) -> bool:
        """Whether the last picture has anything that becomes otherwise without a change of a file."""
        if self.context.daemon_runs != self._daemon_ran:
            return True
        return bool(self._soonest) or any(not self._rows[shape[0]].is_steady for shape in self._moving)

    def glance(self) -> Picture:
        """A first picture, soon: of many jobs only the first."""
        self._renew()
        self._is_renewed = False
        view = self.view = self._watch.look()
        shapes = self._gather(view, None)
        numbers = views.numbers(view, (job_id for _, _, ids in shapes for job_id in ids))
        shapes.sort(key=lambda shape: view.has_ended(shape[0]))
        return self._drawn(view, [make(view, view.job(shape[0]), *shape[1:]) for shape in shapes[:FIRST]], numbers)

    def read(self, choice: Choice, sort: str) -> Picture:
        """The picture now. Raises as `Follower.catch_up`."""
        self._renew()
        self._is_renewed = False
        view = self.view = self._watch.look()
        touched = self._watch.touched if self._asked else None
        stale = self._stale(view, touched)
        is_other = touched is None or bool(touched) or 0 < self._soonest < view.now
        asked = (choice, sort)
        if not is_other and not stale and asked == self._asked and MOVING.isdisjoint(sort.replace("-", "").split(",")):
            self._picture = self._moved(view)
            return self._picture
        if is_other or self._wants_ended != choice.wants_ended:
            self._wants_ended = choice.wants_ended
            self._shapes = self._gather(view, touched)
        self._make(view, stale)
        self._asked = asked
        numbers = dict.fromkeys(STATES, 0)
        for row in self._rows.values():
            numbers[row.state] += len(row.ids)
        rows = self._sorted(view, [row for row in self._rows.values() if choice.fits(row)], sort)
        self._picture = self._drawn(view, rows, numbers)
        return self._picture

    def _moved(self, view: View) -> Picture:
        """The last picture, with what time alone changes as it is now."""
        self._turn = (self._turn + ROUND) % max(len(self._shapes), 1)
        rows, places, widths = list(self._picture.rows), self._picture.places, self._picture.widths
        for job_id, label, ids in (*self._moving, *self._shapes[self._turn : self._turn + ROUND]):
            row = self._rows[job_id] = make(view, view.job(job_id), label, ids)
            if (place := places.get(job_id)) is not None:
                rows[place] = row
                widths = tuple(map(max, widths, _widths([row])))
        return replace(
            self._picture,
            rows=rows,
            widths=widths,
            gpus=_gpu_lines(view),
            notes=_notes(view),
            daemon_runs=view.daemon_runs,
        )

    def details(self, job_id: int) -> Details | None:
        """What there is to say of a job; None if there is none such any more."""
        view = self.view
        if view is None or not view.knows(job_id):
            return None
        job, explain = view.job(job_id), Explainer(view).words
        row = self._rows.get(job_id)
        if row is not None and len(row.ids) > 1 and job.array_id == job_id:
            return Details(job_id, job_details.lines_of_array(view, job, explain))
        return Details(job_id, job_details.lines(view, job, explain, color=False))

    def job(self, job_id: int) -> Job | None:
        """The job as of the last picture."""
        return self.view.job(job_id) if self.view is not None and self.view.knows(job_id) else None

    def _renew(self) -> None:
        self._is_renewed = self.context.renew(self.context.store) or self._is_renewed

    def _stale(self, view: View, touched: set[int | str] | None) -> set[int | str] | None:
        """The jobs whose rows are to be made again; None for all."""
        runs, ran = view.daemon_runs, self._daemon_ran
        before, self._told = self._told, (view.reasons, view.expected_starts)
        self._daemon_ran = runs
        if touched is None or runs != ran:
            return None
        stale = set(touched)
        stale.update(job_id for job_id, _ in before[0].items() ^ view.reasons.items())
        stale.update(job_id for job_id, _ in before[1].items() ^ view.expected_starts.items())
        return stale

    def _gather(self, view: View, touched: set[int | str] | None) -> list[Shape]:
        """What is listed in whatever choice: jobs that have not ended, and of the others those that ended lately."""
        if touched is None:
            self._endings.clear()
        else:
            for key in touched:
                if isinstance(key, int):
                    self._endings.pop(key, None)
        horizon, ids = 0.0 if self._wants_ended else view.now - REMAINS, []
        soonest = float("inf")
        for job_id in view.ids():
            if view.has_ended(job_id):
                at = self._endings.get(job_id)
                if at is None:
                    at = self._endings[job_id] = jobs.ended_at(view.job(job_id)) or 0.0
                if at <= horizon:
                    continue
                soonest = min(soonest, at)
            ids.append(job_id)
        self._soonest = 0.0 if self._wants_ended or soonest == float("inf") else soonest + REMAINS
        if not view.families:
            return [(job_id, None, (job_id,)) for job_id in ids]
        return _folded(view, ids)

    def _make(self, view: View, stale: set[int | str] | None) -> None:
        """Brings the rows up to date, in the order of their ids."""
        before, rows, moving = self._rows, {}, []
        for shape in self._shapes:
            job_id, label, ids = shape
            row = None if stale is None or job_id in stale else before.get(job_id)
            if row is None or not row.is_steady or label is not None:
                row = make(view, view.job(job_id), label, ids)
                if not row.is_steady or label is not None:
                    moving.append(shape)
            rows[job_id] = row
        self._rows, self._moving = rows, moving

    def _sorted(self, view: View, rows: list[Row], sort: str) -> list[Row]:
        if sort == TITLES[0]:
            return sorted(rows, key=lambda row: row.state in ENDED_STATES)  # these are in nobody's way at the end
        by_id = {row.job.id: row for row in rows}
        pairs: list[columns.Row] = [(row.job, row.label if len(row.ids) > 1 else None) for row in rows]
        return [by_id[job.id] for job, _ in columns.sort(view, pairs, sort)]

    def _drawn(self, view: View, rows: Sequence[Row], numbers: Mapping[str, int]) -> Picture:
        places = {row.job.id: place for place, row in enumerate(rows)}
        seen, runs = view.observed, view.daemon_runs
        sums = job_counts.words(numbers, seen.gpus) if runs else job_counts.jobs(numbers)
        return Picture(
            asked=self._asked,
            rows=rows,
            places=places,
            widths=_widths(rows),
            sums=sums,
            others=sum(numbers.values()) - sum(len(row.ids) for row in rows),
            gpus=_gpu_lines(view),
            notes=_notes(view),
            daemon_runs=runs,
        )


def _folded(view: View, ids: Iterable[int]) -> list[Shape]:
    from gflowd.core.job import array_ids

    alone, groups = folding.gather(view, ids)
    shapes: list[Shape] = [(job_id, None, (job_id,)) for job_id in alone]
    for array_id, found in groups:
        label = None
        if len(found) > 1:
            limit = view.max_concurrent(view.job(found[0]))
            label = array_ids.name(view.families[array_id], array_id, found, limit)
        shapes.append((found[0], label, found))
    return sorted(shapes, key=lambda shape: shape[0])


def make(view: View, job: Job, label: str | None, ids: Sequence[int]) -> Row:
    """The row of a job."""
    state = jobs.state(job)
    if label is None:
        named, name, command = jobs.label(job), jobs.name(job), descriptions.command_line(jobs.command(job))
    else:
        named, name, command = label, job.spec.name, descriptions.command_line(job.spec.command)
    cells: tuple[str, ...] = (
        named, name, job.spec.user, SHORT_STATES[state], str(job.spec.gpus), timing(view, job), _progress(view, job),
        columns.FIELDS[TITLES[PLACE]].cell(view, job, label),
    )  # fmt: skip
    if not "".join(cells).isprintable():
        cells = tuple(map(render.escape, cells))
    return Row(
        job=job,
        ids=ids,
        label=cells[0],
        state=state,
        cells=cells,
        searched="\0".join((*cells, state, job.spec.project or "", command)).lower(),
        is_steady=_is_steady(view, job) and SCHEDULING not in cells[PLACE],
    )


def _progress(view: View, job: Job) -> str:
    if not is_live(job.phase):
        return ""
    said = columns.FIELDS[TITLES[PROGRESS]].cell(view, job, None)
    return "" if said == "-" else said


def _is_steady(view: View, job: Job) -> bool:
    """Whether time alone does not change it."""
    return not is_live(job.phase) and not (isinstance(job.phase, Queued) and (job.begin_at or 0.0) > view.now)


def timing(view: View, job: Job) -> str:
    """`0:12:30/1:00:00` of one that runs, `~14:30` when one is expected to, `by 14:30` when it will at the latest."""
    if isinstance(job.phase, Ended):
        took = view.elapsed(job)
        return "-" if took is None else durations.clock(took)
    if is_live(job.phase):
        limit = "" if job.spec.time_limit is None else f"/{durations.clock(job.spec.time_limit)}"
        return f"{durations.clock(view.elapsed(job) or 0.0)}{limit}"
    if jobs.state(job) in (HELD, *ENDED_STATES):
        return "-"
    promised, estimated = reasons.promised_start(view, job), reasons.estimated_start(view, job)
    if estimated is not None and (promised is None or estimated < promised):
        return f"~{view.clock.near(estimated, view.now)}"
    return "-" if promised is None else f"by {view.clock.near(promised, view.now)}"


def _widths(rows: Sequence[Row]) -> tuple[int, ...]:
    return tuple(map(_widest, TITLES, zip(*(row.cells for row in rows), strict=True))) if rows else Picture().widths


def _widest(title: str, cells: Sequence[str]) -> int:
    measure = len if "".join(cells).isascii() else render.width
    widest = max(map(measure, cells))
    return max(len(title), widest) if widest else 0


def _gpu_lines(view: View) -> tuple[GpuLine, ...]:
    return tuple(_gpu_line(view, gpu) for gpu in view.observed.gpus)


def _gpu_line(view: View, gpu: SeenGpu) -> GpuLine:
    idle = gpus.idle_jobs(gpu, view.reasons)
    return GpuLine(
        index=gpu.index,
        model=render.escape(gpu.model.removeprefix("NVIDIA ")),
        used_mb=gpu.used_mb,
        memory_mb=gpu.memory_mb,
        load=gpu.utilisation,
        temperature=gpu.temperature,
        state=f"{gpu.state} (simulated)" if gpu.simulated and "imulated" not in gpu.model else gpu.state,
        users=render.escape(_users(view, gpu, idle)),
    )


def _users(view: View, gpu: SeenGpu, idle: list[int]) -> str:
    """`job 12 train (ada), pid 900 of root`; without either, the cause of its state."""

    def named(job_id: int) -> str:
        if not view.knows(job_id):
            return str(job_id)
        job = view.job(job_id)
        return f"{jobs.label(job)} {jobs.name(job)} ({job.spec.user})"

    return gpus.used_by(gpu, idle, named) or gpu.cause or ""


def _notes(view: View) -> tuple[str, ...]:
    notes = []
    if not view.daemon_runs:
        at = view.observed.at
        seen = "" if at is None else f", last seen {view.clock.near(at, view.now)}"
        notes.append(f"gflowd is not running{seen}; {view.context.start_command}")
    if (found := drain.of(view.fold)) is not None:
        notes.append(f"no job starts: drained {drain.words(found, view.clock)}")
    if view.observed.trouble:
        notes.append(view.observed.trouble)
    if view.observed.gpu_trouble:
        notes.append(f"GPUs unknown: {view.observed.gpu_trouble}")
    return tuple(map(render.escape, notes))
