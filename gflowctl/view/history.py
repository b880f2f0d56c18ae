"""Jobs that have left for the history, brought behind the records of a snapshot: those asked for, arrays whole.

Records of the snapshot take precedence and stay as they are.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from types import MappingProxyType

from gflowctl.view import selection
from gflowd.core.job.records import SPEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from gflowctl.view.selection import Records
    from gflowd.paths import State
    from gflowd.storage.history_access import Past
    from gflowd.storage.history_queries import Choice, Record

_OF_ARRAY = re.compile(r"_(?:[0-9]+|\[[^\]]*\])")
_IDS = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")
_BACK = re.compile(r"@(?:~([0-9]{1,9}))?")


class Layered:
    """The records of a snapshot, and behind them those loaded from the history; a reader sees one layer. It cannot be
    written: `of` returns a read-only mapping, and a commit takes only a `Fold`.
    """

    __slots__ = ("_merged", "_shown", "_snapshot")

    def __init__(self, snapshot: Records) -> None:
        self._snapshot = snapshot
        self._merged: dict[str, dict[Any, Any]] = {}  # of the kinds of which something was brought
        self._shown: dict[str, Mapping[Any, Any]] = {}

    @property
    def next_id(self) -> int:
        return self._snapshot.next_id

    def of(self, kind: str) -> Mapping[Any, Any]:
        """The records of a kind by id; empty if there is none."""
        if kind not in self._shown:
            self._shown[kind] = MappingProxyType(self._merged.get(kind) or self._snapshot.of(kind))
        return self._shown[kind]

    def put_behind(self, found: Iterable[Record]) -> None:
        """Lets those that make sense be seen where the snapshot has none of the same kind and id."""
        from gflowd.core.job import record_rules

        brought: dict[str, dict[Any, Any]] = {}
        for kind, key, value in found:
            brought.setdefault(kind, {})[key] = value
        for kind, behind in brought.items():
            before = self._merged.get(kind, self._snapshot.of(kind))
            self._merged[kind] = {**before, **record_rules.sound(kind, behind), **before}
            self._shown.pop(kind, None)


def bring_named(state: State, records: Records, user: str, text: str) -> Records:
    """`records`, and behind them the jobs that a list of jobs, or a list of dependencies, names."""
    spans = list(_unknown(records, _OF_ARRAY.sub("", text)))
    steps = max((int(match[1] or 0) for match in _BACK.finditer(text)), default=-1)
    if not spans and (steps < 0 or _knows_last(records, user, steps)):
        return records

    def specs(history: Past) -> list[int]:
        found = [spec_id for first, last in spans for spec_id in history.within(first, last)]
        return found + (history.last_of(user, steps + 1) if steps >= 0 else [])

    return _layered(state, records, specs)


def bring(state: State, records: Records, job_id: int) -> Records:
    """`records`, and behind them one job."""
    return _layered(state, records, lambda history: history.within(job_id, job_id))


def bring_chosen(state: State, records: Records, choice: Choice) -> Records:
    """`records`, and behind them the specs that are meant."""
    return _layered(state, records, lambda history: history.chosen(choice, records.of(SPEC)))


def bring_fallen(state: State, records: Records, ids: Iterable[int]) -> Records:
    """`records`, and behind them the jobs that were cancelled because of `ids`, or of one another."""

    def specs(history: Past) -> dict[int, None]:
        every: dict[int, None] = {}
        todo = list(ids)
        while todo:
            fallen = history.because_of(todo)
            found = {spec_id for job_id in fallen for spec_id in history.within(job_id, job_id)}
            todo = [each for each in {*fallen, *found} if each not in every]
            every.update(dict.fromkeys(todo))
        return every

    return _layered(state, records, specs)


def _layered(state: State, records: Records, specs: Callable[[Past], Iterable[int]]) -> Records:
    """`records`, and behind them the `specs` that are found in the history, if there is one."""
    from gflowd.storage import history_access

    try:
        history = history_access.of(state)
    except FileNotFoundError:
        return records
    wanted = [spec_id for spec_id in dict.fromkeys(specs(history)) if spec_id not in records.of(SPEC)]
    if wanted:
        records = records if isinstance(records, Layered) else Layered(records)
        records.put_behind(history.records(wanted))
    history.close()
    return records


def _unknown(records: Records, text: str) -> Iterator[tuple[int, int]]:
    """The spans of ids that `text` names and the snapshot does not have, or not whole."""
    known: list[int] | None = None
    for match in _IDS.finditer(_BACK.sub("", text)):
        first, last = int(match[1]), int(match[2] or match[1])
        if first == last and first in records.of(SPEC):
            continue
        known = selection.ids(records, selection.array_index(records)) if known is None else known
        if bisect_right(known, last) - bisect_left(known, first) < last - first + 1:
            yield first, last


def _knows_last(records: Records, user: str, steps: int) -> bool:
    """Whether the snapshot has every job since the submission `steps` before the user's last."""
    mine = selection.submissions(records, user)
    if len(mine) <= steps:
        return False
    known, first = selection.ids(records, selection.array_index(records)), mine[-1 - steps]
    every: bool = len(known) - bisect_left(known, first) == records.next_id - first
    return every
