"""What is told once of a whole array, not of each of its jobs: that its first job begins, and, when its last one has
ended, how many ended in which way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowd.core.notify import event_names, messages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from gflowd.storage.outbox import Outbox

    Event = Mapping[str, Any]

MOST_LINES = 30  # on elements of an array that did not finish
WORST = ("failed", "timeout", "cancelled", "finished")


class ArraySummaries:
    """Counts in the outbox, within its commits."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def told(self, event: Event, asked: Sequence[str], now: float) -> Event | None:
        """What is told of an array when this happens to one of its jobs; None: nothing."""
        array_id, size, kind = event["array_id"], event["notify"].get("size") or 1, event["kind"]
        wanted, whole = event_names.expanded(asked), {**event, "summary": {"count": size}}
        if kind == "job_requeued":
            self._outbox.element_again(array_id, size, event["job"], now)
        if kind == "job_ended":
            return self._of_end(event, wanted, now) if event["final"] else None
        if wanted.isdisjoint(event_names.fitting(event)):
            return None
        if kind == "job_started":
            return whole if self._outbox.first_to_begin(array_id, size, now) else None
        if kind == "job_requeued":
            return whole if self._outbox.first_again(array_id, size, now) else None
        return event

    def _of_end(self, event: Event, wanted: frozenset[str], now: float) -> Event | None:
        """The summary, when the last job of an array has ended."""
        array_id, size, state = event["array_id"], event["notify"].get("size") or 1, event["state"]
        line = "" if state == "finished" else messages.failure(event)
        if not self._outbox.element_ended(array_id, size, event["job"], state, line, now):
            return None
        summary = self._outbox.take_summary(array_id, MOST_LINES)
        if wanted.isdisjoint(event_names.of_array(summary["states"]) | event_names.fitting(event) & {"invalid_depend"}):
            return None
        worst = next((each for each in WORST if summary["states"].get(each)), state)
        nothing = dict.fromkeys(("array_index", "reason", "exit_code", "signal", "run_seconds"))
        return {**event, **nothing, "job": array_id, "state": worst, "summary": summary}
