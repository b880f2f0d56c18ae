"""Jobs as comma-separated values: times in RFC 3339, durations in seconds, nothing for what is not known."""

from __future__ import annotations

import csv
import io

from gflowctl.output import columns
from gflowctl.output.render import rfc3339
from gflowctl.view import jobs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gflowctl.output.columns import Row
    from gflowctl.view.views import View
    from gflowd.core.job.model import Job

UNKNOWN = "-"  # what the table has for nothing
RAW: Mapping[str, Callable[[View, Job], object]] = {  # where a program wants another form than people
    "TIME": lambda view, job: _seconds(view.elapsed(job) or 0.0),
    "TIMELEFT": lambda view, job: _seconds(view.time_left(job)),
    "TIMELIMIT": lambda _, job: _seconds(job.spec.time_limit),
    "SUBMIT": lambda _, job: rfc3339(job.spec.submitted_at),
    "START": lambda view, job: rfc3339(columns.start(view, job)),
    "END": lambda _, job: rfc3339(jobs.ended_at(job)),
    "PROGRESS": columns.fraction,
    "MEMORY": lambda _, job: job.spec.memory_mb,
}


def _seconds(duration: float | None) -> float | None:
    return None if duration is None else round(duration, 3)


def table(view: View, found: Sequence[Row], names: Sequence[str]) -> str:
    """A header of the fields' names, and a line for each job."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(_cells(view, job, names) for job, _ in found)
    return out.getvalue()


def _cells(view: View, job: Job, names: Sequence[str]) -> Iterable[object]:
    for name in names:
        if name in RAW:
            yield RAW[name](view, job)
        else:
            text = columns.FIELDS[name].text(view, job)
            yield None if text == UNKNOWN else text
