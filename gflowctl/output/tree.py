"""The queue as a forest: each job below the first listed job that it waits for."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowd.core.job.model import Job

DEEPEST = 16  # levels of indentation; below them the number of further levels stands before the id
BRANCH = "\\_ "  # as ps(1) --forest draws it


def place(names: Sequence[str]) -> int:
    """The column to indent."""
    return names.index("JOBID") if "JOBID" in names else 0


def rows(flat: Sequence[tuple[Job, list[str]]], column: int) -> list[tuple[Job, list[str]]]:
    """The rows, each a job and its cells, with one column indented by depth; siblings keep their
    order.
    """
    cells = {job.id: row for job, row in flat}
    made = []
    for depth, job in arranged([job for job, _ in flat]):
        row = list(cells[job.id])
        row[column] = f"{_indentation(depth)}{row[column]}"
        made.append((job, row))
    return made


def _indentation(depth: int) -> str:
    if not depth:
        return ""
    more = f"+{depth - DEEPEST} " if depth > DEEPEST else ""
    return f"{'   ' * (min(depth, DEEPEST) - 1)}{BRANCH}{more}"


def arranged(found: Sequence[Job]) -> list[tuple[int, Job]]:
    """Each job with its depth, after the job above it. A chain may be as long as the queue."""
    listed: dict[int, int] = {}  # the row of an array is its first
    for job in found:
        listed.setdefault(job.array_id or job.id, job.id)
    listed.update((job.id, job.id) for job in found if job.array_id != job.id)
    below: dict[int | None, list[Job]] = {}
    for job in found:
        ids = () if job.spec.needs is None else job.spec.needs.ids
        below.setdefault(next((listed[other] for other in ids if other in listed), None), []).append(job)
    stack = [(0, job) for job in reversed(below.get(None, ()))]
    out = []
    while stack:
        depth, job = stack.pop()
        out.append((depth, job))
        stack += [(depth + 1, other) for other in reversed(below.get(job.id, ()))]
    return out
