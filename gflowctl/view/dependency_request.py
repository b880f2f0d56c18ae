"""Requested dependencies as written, and the jobs of a snapshot that they mean."""

from __future__ import annotations

import os

from gflowctl.view import selection
from gflowd.core.errors import BadUsage, Refused
from gflowd.core.job import dependencies
from gflowd.core.job.dependencies import AFTERCORR, ALL, ANY
from gflowd.core.job.records import SPEC
from gflowd.core.job.value_base import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from gflowctl.context import Context
    from gflowctl.view.selection import Records
    from gflowctl.view.views import View
    from gflowd.core.job.arrays import Family
    from gflowd.core.job.dependencies import Needs, Resolve
    from gflowd.storage.record_log import Fold

PLAIN = 10  # digits: ids are shorter


class DependencyRequest(Value):
    """The texts of the options, each None if not given. `@` in them is resolved under the snapshot's lock, when
    no other submission can come between.
    """

    __slots__ = ("all_of", "any_of", "auto_cancel", "singleton", "spec")

    def __init__(
        self, *, spec: str | None, all_of: str | None, any_of: str | None, singleton: bool, auto_cancel: bool
    ) -> None:
        self.spec: Final = spec
        self.all_of: Final = all_of
        self.any_of: Final = any_of
        self.singleton: Final = singleton
        self.auto_cancel: Final = auto_cancel

    @property
    def texts(self) -> list[str]:
        """Those that name jobs."""
        return [text for text in (self.spec, self.all_of, self.any_of) if text is not None]

    def needs(self, resolve: Resolve) -> Needs:
        """The dependencies, with the jobs that `resolver` finds. Raises `Refused`."""
        parts = []
        if self.spec is not None:
            parts.append(dependencies.parse(self.spec, resolve))
        if self.all_of is not None:
            parts.append(dependencies.parse_list(self.all_of, ALL, resolve))
        if self.any_of is not None:
            parts.append(dependencies.parse_list(self.any_of, ANY, resolve))
        if self.singleton:
            parts.append(dependencies.ALONE)
        return dependencies.join(*parts).replace(auto_cancel=self.auto_cancel)


def asked(request: DependencyRequest, view: View) -> Needs:
    """The dependencies of one request; `@` is one of the user's submissions. Raises `Refused`."""
    view.recall_named(",".join(request.texts))
    return request.needs(resolver(view.records, view.context.user))


def recalled(requests: Iterable[DependencyRequest], fold: Fold, context: Context) -> Records:
    """The records of the snapshot, and behind them the jobs that are named and have left for the history."""
    if not os.path.exists(context.state.history):
        return fold
    from gflowctl.view import history

    text = ",".join(text for request in requests for text in request.texts)
    return history.bring_named(context.state, fold, context.user, text)


def check_elements(wanted: Needs, family: Family | None, records: Records) -> None:
    """Raises `Refused` if `aftercorr` names an array that lacks a counterpart for an element of `family`."""
    corresponding = [each for each in wanted.dependencies if each.kind == AFTERCORR and not each.element]
    arrays_of = selection.array_index(records) if corresponding and family is not None else None
    if arrays_of is None or family is None:
        return
    from gflowd.core.admission.dependency_targets import check_counterparts

    for each in corresponding:
        theirs = None if each.id is None else arrays_of.families.get(each.id)
        if theirs is not None and each.id is not None:
            check_counterparts(each.id, theirs, family)


def resolver(records: Records, user: str) -> Resolve:
    """The ids that a word names in `records`."""
    array_index, specs = selection.array_index(records), records.of(SPEC)

    def resolve(word: str) -> list[tuple[int, bool]]:
        if len(word) < PLAIN and word.isdecimal() and int(word) in specs:  # 10,000 jobs may each wait for one
            return [(int(word), False)]
        try:
            return selection.targets(word, records, array_index, user)
        except BadUsage:
            raise Refused(f"no job {word}") from None

    return resolve
