"""Waiting elements of an array as one: which are alike, and how they are named together."""

from __future__ import annotations

from gflowd.core.job import array_ids
from gflowd.core.job.records import PHASE, SPEC, WISH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from gflowctl.view.views import View


# the id of a job; where it stands for others of its array: how they are named; and how many they are
Row = tuple[int, str | None, int]


def fold(view: View, ids: Iterable[int], *, by_name: bool = False) -> list[Row]:
    """A row for each of `ids`; elements of an array that wait alike share one row, that of the first of them.

    Only elements that have never started and have the same wish are alike. `by_name`: also distinguish them by name,
    which a template may have made.
    """
    alone, groups = gather(view, ids, by_name=by_name)
    rows: list[Row] = [(job_id, None, 1) for job_id in alone]
    for array_id, found in groups:
        label = None
        if len(found) > 1:
            limit = view.max_concurrent(view.job(found[0]))
            label = array_ids.name(view.families[array_id], array_id, sorted(found), limit)
        rows.append((found[0], label, len(found)))
    return rows


def gather(view: View, ids: Iterable[int], *, by_name: bool = False) -> tuple[list[int], list[tuple[int, list[int]]]]:
    """As `fold`: the jobs that stand alone, and of each group the array and its elements."""
    array_index, wishes, phases = view.array_index, view.records.of(WISH), view.records.of(PHASE)
    if array_index is None:
        return list(ids), []
    specs = view.records.of(SPEC)
    named = {each for each in array_index.families if by_name and "name_template" in specs[each]}
    alone: list[int] = []
    groups: dict[tuple[int, str], list[int]] = {}
    array_id, rest = None, range(0)
    for job_id in ids:
        if job_id not in rest:
            array_id = array_index.array_of(job_id)
            rest = range(job_id, job_id + 1) if array_id is None else array_index.ids(array_id)
        wish = wishes.get(job_id)
        over = wish is not None and "cancelled_at" in wish
        if array_id is None or array_id in named or over or job_id in phases:
            alone.append(job_id)
        else:
            groups.setdefault((array_id, str(wish or "")), []).append(job_id)
    return alone, [(array_id, found) for (array_id, _), found in groups.items()]
