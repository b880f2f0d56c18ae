"""What the screen shows at one moment, as values: made by the reader, drawn by the widgets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gflowctl.view import jobs
from gflowd.core.syntax import job_ids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gflowd.core.job.model import Job

TITLES = ("JOBID", "NAME", "USER", "ST", "GPUS", "TIME", "PROGRESS", "NODELIST(REASON)")
JOBID, NAME, USER, STATE, GPUS, TIME, PROGRESS, PLACE = range(len(TITLES))


@dataclass(frozen=True, slots=True)
class Row:
    """A job, or elements of an array that wait alike. `ids`: those that it stands for; `label`: how it is named;
    `searched`: what is shown and more, in small letters; `is_steady`: it looks as it does until its records change.
    """

    job: Job
    ids: Sequence[int]
    label: str
    state: str
    cells: tuple[str, ...]
    searched: str
    is_steady: bool

    @property
    def words(self) -> list[str]:
        """What names it on a command line: the id of an array would name all of that."""
        others = self.ids[1:]
        return [jobs.label(self.job), *([job_ids.show(others)] if others else [])]


@dataclass(frozen=True, slots=True)
class GpuLine:
    """A GPU: `load` in percent, memory in MiB, and who is on it."""

    index: int
    model: str
    used_mb: int
    memory_mb: int
    load: int | None
    temperature: int | None
    state: str
    users: str


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it. `asked`: the choice and the sorting that it is of; `widths`: of the widest cell of each column, 0 for
    one that is left out; `others`: jobs that the choice leaves out; `notes`: what is wrong, or lets no job start.
    """

    asked: object = None
    rows: Sequence[Row] = ()
    places: Mapping[int, int] = field(default_factory=dict)  # of rows, by the id of their job
    widths: tuple[int, ...] = tuple(map(len, TITLES))
    sums: str = ""
    others: int = 0
    gpus: tuple[GpuLine, ...] = ()
    notes: tuple[str, ...] = ()
    daemon_runs: bool = True


@dataclass(frozen=True, slots=True)
class Details:
    """What `gflowctl show` says of a job, a key and a text each; a text may have several lines."""

    job_id: int
    lines: Sequence[tuple[str, str]]
