"""The elements of an array that wait, as one: which are alike, and how they are named together."""

from __future__ import annotations

from gflowd.core.job import array_ids
from gflowd.core.job.records import PHASE, SPEC, WISH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from gflowctl.view.views import View


def fold(view: View, ids: Iterable[int], *, by_name: bool = False) -> list[int]:
    """`ids` with the first of those elements of an array that wait alike for all of them, named in `view.folded`.

    Only elements that have never started are alike, and of these those of which the same is wished. `by_name`: their
    names are to be told apart, which a template may have made.
    """
    array_index, wishes, phases = view.array_index, view.fold.of(WISH), view.fold.of(PHASE)
    if array_index is None:
        return list(ids)
    view.folded.clear()
    specs = view.fold.of(SPEC)
    named = {each for each in array_index.families if by_name and "name_template" in specs[each]}
    kept: list[int] = []
    groups: dict[tuple[int, Any], list[int]] = {}
    array_id, rest = None, range(0)
    for job_id in ids:
        if job_id not in rest:
            array_id = array_index.array_of(job_id)
            rest = range(job_id, job_id + 1) if array_id is None else array_index.ids(array_id)
        wish = wishes.get(job_id)
        over = wish is not None and "cancelled_at" in wish
        if array_id is None or array_id in named or over or job_id in phases:
            kept.append(job_id)
        else:
            groups.setdefault((array_id, wish and tuple(wish.items())), []).append(job_id)
    for (of, _), found in groups.items():
        kept.append(found[0])
        if len(found) > 1:
            limit = view.max_concurrent(view.job(found[0]))
            view.folded[found[0]] = array_ids.name(array_index.families[of], of, sorted(found), limit)
    return kept
