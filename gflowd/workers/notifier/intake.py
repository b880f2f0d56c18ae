"""From events to messages in the outbox: who is told of what. Sends nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowd.core.events import kinds
from gflowd.core.notify import event_names
from gflowd.workers.notifier import receiver_names
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
        for _job, word, at, event in self._outbox.due_marks(now):
            left = event["time_limit"] * (1 - event_names.TIME_MARKS[word])
            self._add({**event, "at": at, "mark": word, "seconds_left": left}, now)

    def _take_of_job(self, event: Event, now: float) -> None:
        asked = event["notify"].get("on") or ()
        self._take_time(event, event_names.expanded(asked))
        if event.get("array_index") is None or event_names.ARRAY_TASKS in asked:
            if event_names.told(asked, event) is not None:
                self._add(event, now)
        elif (told := self._arrays.told(event, asked, now)) is not None:
            self._add(told, now)

    def _add(self, event: Event, now: float) -> None:
        for key in receiver_names.of(event):
            if self._urls or not key.startswith(receiver_names.URL):
                self._outbox.add(key, _stored(event), now)

    def _take_time(self, event: Event, wanted: frozenset[str]) -> None:
        """Sets, moves and drops the marks of a job's time limit."""
        kind, job = event["kind"], event["job"]
        if kind == "job_started":
            limit = event["notify"].get("time_limit")
            for word in wanted & event_names.TIME_MARKS.keys() if limit else ():
                marked = {**event, "kind": "job_time_limit", "id": f"{event['id']}.{word}", "time_limit": limit}
                self._outbox.set_mark(job, word, event["at"] + limit * event_names.TIME_MARKS[word], marked)
        elif kind in ("job_ended", "job_requeued"):
            self._outbox.drop_marks(job)
        elif kind == "job_suspended":
            self._outbox.pause_marks(job, event["at"])
        elif kind == "job_unsuspended":
            self._outbox.go_on_with_marks(job, event["at"])
        elif kind == "job_updated":
            self._change_limit(event, range(job, job + (event.get("count") or 1)))

    def _change_limit(self, event: Event, jobs: range) -> None:
        limit = event.get("time_limit")
        for job, word, marked in self._outbox.marks(jobs):
            if not limit:
                self._outbox.drop_marks(job)
            else:
                by = (limit - marked["time_limit"]) * event_names.TIME_MARKS[word]
                self._outbox.shift_mark(job, word, by, {**marked, "time_limit": limit})


def _stored(event: Event) -> dict[str, Any]:
    """An event as it is kept until it is delivered: without whom it is for, with where the output of the job is."""
    kept = kinds.shown(event)
    output = (event.get("notify") or {}).get("output")
    return {**kept, "notify": {"output": output}} if output else kept
