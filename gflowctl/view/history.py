"""Jobs that have left for the history, brought into a fold of the snapshot: those asked for, arrays whole.

What is in the snapshot wins. Nothing that is brought may be written back.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right

from gflowctl.view import selection
from gflowd.core.job.records import SPEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gflowd.paths import State
    from gflowd.storage.history import History
    from gflowd.storage.history_queries import Choice
    from gflowd.storage.record_log import Fold

_OF_ARRAY = re.compile(r"_(?:[0-9]+|\[[^\]]*\])")
_IDS = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")
_BACK = re.compile(r"@(?:~([0-9]{1,9}))?")


def bring_named(state: State, fold: Fold, user: str, text: str) -> list[int]:
    """Brings the jobs that a list of jobs, or a list of dependencies, names; the ids of their specs."""
    spans = list(_unknown(fold, _OF_ARRAY.sub("", text)))
    steps = max((int(match[1] or 0) for match in _BACK.finditer(text)), default=-1)
    if not spans and (steps < 0 or _knows_last(fold, user, steps)):
        return []
    from gflowd.storage import history_queries

    history = _open(state)
    if history is None:
        return []
    specs = [spec_id for first, last in spans for spec_id in history_queries.within(history, first, last)]
    if steps >= 0:
        specs += history_queries.last_of(history, user, steps + 1)
    return _bring(history, fold, specs)


def bring(state: State, fold: Fold, job_id: int) -> list[int]:
    """Brings one job."""
    from gflowd.storage import history_queries

    history = _open(state)
    return [] if history is None else _bring(history, fold, history_queries.within(history, job_id, job_id))


def bring_chosen(state: State, fold: Fold, choice: Choice) -> list[int]:
    """Brings the specs that are meant."""
    from gflowd.storage import history_queries

    history = _open(state)
    return [] if history is None else _bring(history, fold, history_queries.chosen(history, choice, fold.of(SPEC)))


def bring_fallen(state: State, fold: Fold, ids: Iterable[int]) -> list[int]:
    """Brings the jobs that were cancelled because of `ids`, or of one another."""
    from gflowd.storage import history_queries

    history = _open(state)
    specs: dict[int, None] = {}
    todo = list(ids)
    while history is not None and todo:
        fallen = history_queries.because_of(history, todo)
        found = {spec_id for job_id in fallen for spec_id in history_queries.within(history, job_id, job_id)}
        todo = [each for each in {*fallen, *found} if each not in specs]
        specs.update(dict.fromkeys(todo))
    return [] if history is None else _bring(history, fold, list(specs))


def _open(state: State) -> History | None:
    from gflowd.storage.history import History

    try:
        return History(state.history)
    except FileNotFoundError:
        return None


def _bring(history: History, fold: Fold, spec_ids: Iterable[int]) -> list[int]:
    from gflowd.storage import history_queries

    wanted = [spec_id for spec_id in dict.fromkeys(spec_ids) if spec_id not in fold.of(SPEC)]
    for kind, key, value in history_queries.records(history, wanted):
        fold.of(kind).setdefault(key, value)
    history.close()
    return wanted


def _unknown(fold: Fold, text: str) -> Iterator[tuple[int, int]]:
    """The spans of ids that `text` names and the snapshot does not have, or not whole."""
    known: list[int] | None = None
    for match in _IDS.finditer(_BACK.sub("", text)):
        first, last = int(match[1]), int(match[2] or match[1])
        if first == last and first in fold.of(SPEC):
            continue
        known = selection.ids(fold, selection.array_index(fold)) if known is None else known
        if bisect_right(known, last) - bisect_left(known, first) < last - first + 1:
            yield first, last


def _knows_last(fold: Fold, user: str, steps: int) -> bool:
    """Whether the snapshot has every job since the submission `steps` before the user's last."""
    mine = sorted(job_id for job_id, raw in fold.of(SPEC).items() if raw["user"] == user)
    if len(mine) <= steps:
        return False
    known, first = selection.ids(fold, selection.array_index(fold)), mine[-1 - steps]
    every: bool = len(known) - bisect_left(known, first) == fold.next_id - first
    return every
