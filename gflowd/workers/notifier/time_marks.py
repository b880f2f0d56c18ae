"""Notifications for a share of a job's time limit (`time_limit_80`): their times are kept in the outbox as marks, which
are set when the job starts, move with its limit, and stand still while it is suspended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowd.core.notify import event_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from gflowd.storage.outbox import Outbox

    Event = Mapping[str, Any]


def follow(outbox: Outbox, event: Event, wanted: frozenset[str]) -> None:
    """Sets, moves and drops the marks of a job by what has happened to it. Within a commit of the outbox."""
    kind, job = event["kind"], event["job"]
    if kind == "job_started":
        limit = event["notify"].get("time_limit")
        for word in wanted & event_names.TIME_MARKS.keys() if limit else ():
            marked = {**event, "kind": "job_time_limit", "id": f"{event['id']}.{word}", "time_limit": limit}
            outbox.set_mark(job, word, event["at"] + limit * event_names.TIME_MARKS[word], marked)
    elif kind in ("job_ended", "job_requeued"):
        outbox.drop_marks(job)
    elif kind == "job_suspended":
        outbox.pause_marks(job, event["at"])
    elif kind == "job_unsuspended":
        outbox.go_on_with_marks(job, event["at"])
    elif kind == "job_updated":
        _change_limit(outbox, event, range(job, job + (event.get("count") or 1)))


def reached(outbox: Outbox, now: float) -> Iterator[Event]:
    """Takes the marks that have been reached, as events. Within a commit of the outbox."""
    for _job, word, at, event in outbox.due_marks(now):
        left = event["time_limit"] * (1 - event_names.TIME_MARKS[word])
        yield {**event, "at": at, "mark": word, "seconds_left": left}


def _change_limit(outbox: Outbox, event: Event, jobs: range) -> None:
    limit = event.get("time_limit")
    for job, word, marked in outbox.marks(jobs):
        if not limit:
            outbox.drop_marks(job)
        else:
            by = (limit - marked["time_limit"]) * event_names.TIME_MARKS[word]
            outbox.shift_mark(job, word, by, {**marked, "time_limit": limit})
