"""The columns of `gflowctl queue`: the title, content and sort key of each."""

from __future__ import annotations

from gflowctl.output import descriptions
from gflowctl.output.render import STATE_COLORS, Column, is_terminal
from gflowctl.view import jobs, reasons
from gflowd.core.errors import BadUsage
from gflowd.core.job.model import SHORT_STATES, STATES, Begun, Ended, Running, is_live
from gflowd.core.job.reasons import IDLE_GPUS, NO_OUTPUT, RESOURCES, TERMINAL_INPUT
from gflowd.core.job.value_base import Value
from gflowd.core.syntax import durations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import Any, Final

    from gflowctl.view.views import View
    from gflowd.core.job.model import Job

    Row = tuple[Job, str | None]  # where the job stands for others of its array: how they are named together

STARTS = "JOBID,NAME,USER,ST,START,TIMELIMIT,GPUS,NODELIST(REASON)"
DEFAULT = "JOBID,NAME,USER,ST,TIME,GPUS,NODELIST(REASON)"
SHORTEST_LABEL = 12  # characters of elements that are named together


class Field(Value):
    """One column: how its cells read, by what it sorts, if not by that, how it stands; and how the cell of a job reads
    that stands for others, given their label, if not as its own.
    """

    __slots__ = ("flexible", "of_several", "right", "sort", "text")

    def __init__(
        self,
        text: Callable[[View, Job], str],
        sort: Callable[[View, Job], Any] | None = None,
        *,
        right: bool = False,
        flexible: bool = False,
        of_several: Callable[[Job, str], str] | None = None,
    ) -> None:
        self.text: Final = text
        self.sort: Final = sort
        self.right: Final = right
        self.flexible: Final = flexible
        self.of_several: Final = of_several

    def cell(self, view: View, job: Job, label: str | None) -> str:
        return self.text(view, job) if label is None or self.of_several is None else self.of_several(job, label)

    def key(self, view: View, job: Job, label: str | None) -> Any:
        return self.cell(view, job, label) if self.sort is None else self.sort(view, job)


def _time(view: View, job: Job) -> str:
    elapsed = view.elapsed(job)
    return durations.clock(elapsed) if elapsed else "0:00"


def _time_left(view: View, job: Job) -> str:
    if job.spec.time_limit is None:
        return "UNLIMITED"
    left = view.time_left(job)
    return durations.clock(left) if left is not None else "N/A"


def _time_limit(_view: View, job: Job) -> str:
    return "UNLIMITED" if job.spec.time_limit is None else durations.clock(job.spec.time_limit)


def _memory(_view: View, job: Job) -> str:
    if job.spec.memory_mb is None:
        return "-"
    from gflowd.core.syntax import memory

    return memory.show(job.spec.memory_mb)


def _gpu_ids(job: Job) -> str:
    return ",".join(map(str, job.run.gpu_ids)) if job.run is not None else ""


def _place(view: View, job: Job) -> str:
    reason = reasons.reason(view, job)
    if (reason and isinstance(job.phase, Ended)) or jobs.is_waiting(job):
        return f"({reason})"
    if job.run is not None and job.run.cluster is not None:
        return f"{job.run.node or job.run.cluster}{f' ({reason})' if reason else ''}"
    if is_live(job.phase) and reason in (IDLE_GPUS, NO_OUTPUT, RESOURCES, TERMINAL_INPUT):
        return f"{_gpu_ids(job)} ({reason})".lstrip()
    return _gpu_ids(job) or _bracketed(reason)


def _bracketed(reason: str | None) -> str:
    return f"({reason})" if reason else "-"


def _exit(_view: View, job: Job) -> str:
    """`code:signal`, as sacct(1) shows it."""
    if not isinstance(job.phase, Ended) or job.phase.run is None:
        return "-"
    return f"{job.phase.exit_code or 0}:{job.phase.signal or 0}"


def start(view: View, job: Job) -> float | None:
    """When it began, or is expected to begin."""
    began = jobs.started_at(job)
    return reasons.expected_start(view, job) if began is None else began


def _shown_start(view: View, job: Job) -> str:
    """When it began, or the latest promised start, or with `~` the expected start."""
    began = jobs.started_at(job)
    if began is not None:
        return _at(view, began)
    promised, estimated = reasons.promised_start(view, job), reasons.estimated_start(view, job)
    if promised is not None or estimated is None:
        return _at(view, promised)
    return f"~{_at(view, estimated)}"


def _at(view: View, at: float | None) -> str:
    """A time, on a terminal as short as its distance allows."""
    if at is None or not is_terminal():
        return view.clock.stamp(at)
    return view.clock.near(at, view.now, seconds=True)


def _progress(view: View, job: Job) -> str:
    found = view.progress(job) if isinstance(job.phase, Begun) else None
    if found is None:
        return "-"
    from gflowd.core.progress import report

    return f"{report.percent(found.fraction)} {found.text}".rstrip()


def fraction(view: View, job: Job) -> float | None:
    """How much of it is done, from 0 to 1, as far as that is known of a live job."""
    found = view.progress(job) if isinstance(job.phase, Begun) else None
    return None if found is None else round(found.fraction, 6)


def _expected_end(view: View, job: Job) -> float | None:
    found = view.progress(job) if isinstance(job.phase, Running) else None
    return None if found is None else found.expected_end


def _end(view: View, job: Job) -> float | None:
    """When it ended, or is expected to end."""
    ended = jobs.ended_at(job)
    return _expected_end(view, job) if ended is None else ended


def _shown_end(view: View, job: Job) -> str:
    """When it ended, or with `~` when it is expected to."""
    expected = _expected_end(view, job)
    return _at(view, jobs.ended_at(job)) if expected is None else f"~{_at(view, expected)}"


def told_of(view: View, found: Sequence[Row]) -> list[str]:
    """The columns that tell of the progress of these jobs, as far as anything is known of it."""
    told = [view.progress(job) for job, _ in found if isinstance(job.phase, Begun)]
    known = [each for each in told if each is not None]
    return ["PROGRESS"] * bool(known) + ["END"] * any(each.expected_end is not None for each in known)


def _last(moment: float | None) -> float:
    return float("inf") if moment is None else moment


FIELDS: dict[str, Field] = {
    "JOBID": Field(
        lambda _, job: jobs.label(job), lambda _, job: job.id, right=True, of_several=lambda _, label: label
    ),
    "NAME": Field(lambda _, job: jobs.name(job), flexible=True, of_several=lambda job, _: job.spec.name),
    "USER": Field(lambda _, job: job.spec.user, flexible=True),
    "PROJECT": Field(lambda _, job: job.spec.project or "-", flexible=True),
    "ST": Field(lambda _, job: SHORT_STATES[jobs.state(job)], lambda _, job: STATES.index(jobs.state(job))),
    "STATE": Field(lambda _, job: jobs.state(job), lambda _, job: STATES.index(jobs.state(job))),
    "TIME": Field(_time, lambda view, job: view.elapsed(job) or 0.0, right=True),
    "TIMELEFT": Field(_time_left, lambda view, job: _last(view.time_left(job)), right=True),
    "TIMELIMIT": Field(_time_limit, lambda _, job: _last(job.spec.time_limit), right=True),
    "SUBMIT": Field(lambda view, job: _at(view, job.spec.submitted_at), lambda _, job: job.spec.submitted_at),
    "START": Field(_shown_start, lambda view, job: _last(start(view, job))),
    "END": Field(_shown_end, lambda view, job: _last(_end(view, job))),
    "NODES": Field(lambda _, job: "0" if jobs.is_waiting(job) else "1", right=True),
    "GPUS": Field(lambda _, job: str(job.spec.gpus), lambda _, job: job.spec.gpus, right=True),
    "CPUS": Field(lambda _, job: str(job.spec.cpus), lambda _, job: job.spec.cpus, right=True),
    "MEMORY": Field(_memory, lambda _, job: job.spec.memory_mb or 0, right=True),
    "PRIORITY": Field(lambda _, job: str(job.spec.priority), lambda _, job: job.spec.priority, right=True),
    "REASON": Field(lambda view, job: reasons.reason(view, job) or "-", flexible=True),
    "NODELIST(REASON)": Field(_place, flexible=True),
    "PROGRESS": Field(_progress, lambda view, job: fraction(view, job) or 0.0, flexible=True),
    "EXIT": Field(_exit, right=True),
    "CLUSTER": Field(lambda _, job: jobs.cluster(job) or "-", flexible=True),
    "REPEAT": Field(lambda _, job: "-" if job.spec.repeat is None else job.spec.repeat.rule, flexible=True),
    "COMMAND": Field(
        lambda _, job: descriptions.command_line(jobs.command(job)),
        flexible=True,
        of_several=lambda job, _: descriptions.command_line(job.spec.command),
    ),
}


def chosen(text: str) -> list[str]:
    """The fields that a comma-separated list names, ignoring case. Raises `BadUsage`."""
    names = [word.strip().upper() for word in text.split(",") if word.strip()]
    for name in names:
        if name not in FIELDS:
            raise BadUsage(f"unknown field {name!r}; the fields are {' '.join(FIELDS)}")
    if not names:
        raise BadUsage(f"no field given; the fields are {' '.join(FIELDS)}")
    return names


def sort(view: View, rows: Sequence[Row], text: str) -> list[Row]:
    """`rows` sorted by `FIELD[,-FIELD]`, a minus for descending; the id decides between equals."""
    found = sorted(rows, key=lambda row: row[0].id)
    for word in reversed(text.split(",")):
        key = FIELDS[chosen(word.strip().removeprefix("-"))[0]].key
        keys = {job.id: key(view, job, label) for job, label in found}
        found.sort(key=lambda row: keys[row[0].id], reverse=word.strip().startswith("-"))
    return found


def columns(names: Sequence[str], found: Sequence[Row], spare: Collection[str] = ()) -> list[Column]:
    """The columns of the fields for `render.table`, `spare` where there is room. How elements are named together may be
    cut, the id of a job not.
    """
    colors = {"ST": _color, "STATE": _color}
    made = [
        Column(
            name,
            right=FIELDS[name].right,
            flexible=FIELDS[name].flexible,
            spare=name in spare,
            color=colors.get(name),
        )
        for name in names
    ]
    if "JOBID" in names and any(label for _, label in found):
        place, alone = names.index("JOBID"), (jobs.label(job) for job, label in found if label is None)
        made[place] = Column("JOBID", right=True, flexible=True, least=max(SHORTEST_LABEL, *map(len, alone), 0))
    return made


def _color(job: Job) -> str:
    return STATE_COLORS[jobs.state(job)]


def cells(view: View, found: Sequence[Row], names: Sequence[str]) -> list[tuple[Job, list[str]]]:
    """Each job with its cells, in the order of `names`."""
    fields = [FIELDS[name] for name in names]
    return [(job, [field.cell(view, job, label) for field in fields]) for job, label in found]
