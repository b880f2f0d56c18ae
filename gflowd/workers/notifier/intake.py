"""From events to messages in the outbox: who is told of what. Sends nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowd.core.events import kinds
from gflowd.core.notify import event_names
from gflowd.workers.notifier import receiver_names, time_marks
from gflowd.workers.notifier.array_summaries import ArraySummaries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from gflowd.core.notify.targets import Target
    from gflowd.storage.outbox import Outbox

    Event = Mapping[str, Any]

SLACK = 30.0  # seconds: a new target of gflow.toml is told of the daemon's start, which was before


class Intake:
    """`since`: by the key of a target of gflow.toml, the time of the first event that it is told of. No such time lies
    ahead: the clock was wrong when it was noted, and has been set back.
    """

    def __init__(
        self, outbox: Outbox, targets: Sequence[Target], since: Mapping[str, float], *, urls: bool = True
    ) -> None:
        """`urls`: those that jobs name are called."""
        self._outbox = outbox
        self._arrays = ArraySummaries(outbox)
        self._urls = urls
        self._targets = targets
        self._since = since

    def take(self, events: Iterable[Event], now: float) -> None:
        """Within a commit of the outbox."""
        for event in events:
            for target in self._targets:
                if event["at"] >= min(self._since[target.key], now - SLACK) and target.takes(event):
                    self._outbox.add(target.key, _stored(event), now)
            if "notify" in event:
                self._take_of_job(event, now)

    def take_marks(self, now: float) -> None:
        """The marks of time limits that have been reached. Within a commit of the outbox."""
        for event in time_marks.reached(self._outbox, now):
            self._add(event, now)

    def _take_of_job(self, event: Event, now: float) -> None:
        asked = event["notify"].get("on") or ()
        time_marks.follow(self._outbox, event, event_names.expanded(asked))
        if event.get("array_index") is None or event_names.ARRAY_TASKS in asked:
            if event_names.told(asked, event) is not None:
                self._add(event, now)
        elif (told := self._arrays.told(event, asked, now)) is not None:
            self._add(told, now)

    def _add(self, event: Event, now: float) -> None:
        for key in receiver_names.of(event):
            if self._urls or not key.startswith(receiver_names.URL):
                self._outbox.add(key, _stored(event), now)


def _stored(event: Event) -> dict[str, Any]:
    """An event as it is kept until it is delivered: without whom it is for, with where the output of the job is."""
    kept = kinds.shown(event)
    output = (event.get("notify") or {}).get("output")
    return {**kept, "notify": {"output": output}} if output else kept
