"""Cancels jobs, with the series that end with them or go on without them."""

from __future__ import annotations

from gflowctl.change import applied_wish_rules
from gflowd.core.job.model import Queued, Wish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Protocol

    from gflowctl.change.wishes import Chosen
    from gflowctl.view import views
    from gflowd.core.job.model import Job

    class ChosenRuns(Chosen, Protocol):
        """Jobs that are named, perhaps by the ids of their series."""

        @property
        def series(self) -> Container[int]: ...


class Cancellation:
    """A `wishes.Change`: each of the `chosen` jobs is to be cancelled. The id of a series ends it; that of a later run
    means this run alone. `passed`: the series that go on though their next run is cancelled.
    """

    def __init__(self, chosen: ChosenRuns) -> None:
        self._chosen = chosen
        self.passed: dict[int, None] = {}

    def __call__(self, view: views.View, job: Job) -> Wish | str:
        number = None if self._chosen.is_by_options else job.series
        is_alone = number is not None and number not in self._chosen.series
        found = applied_wish_rules.cancelled(view, job, is_alone=is_alone)
        if is_alone and number is not None and isinstance(found, Wish) and isinstance(job.phase, Queued):
            self.passed[number] = None
        return found
