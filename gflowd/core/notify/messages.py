"""What a person reads: subject and text of a notification. Pure; knows no mail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowd.core.notify import event_names, plain_text
from gflowd.core.syntax.clocks import Clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

LONGEST_SUBJECT = 150  # characters
LONGEST_NAME = 60  # of a job, in a subject
MOST_IN_DIGEST = 300
WITH_LOG = ("job_ended", "job_started", "job_requeued")
SECOND = "%Y-%m-%d %H:%M:%S"
HERE = Clock()
STATES = ("finished", "failed", "timeout", "cancelled")
_PLAIN_KINDS = {
    "job_submitted": "was submitted", "job_held": "is held", "job_released": "was released",
    "job_updated": "was changed",
    "job_started": "has started", "job_suspended": "was suspended", "job_unsuspended": "goes on",
    "job_stopping": "is being stopped", "job_requeued": "is queued again",
}  # fmt: skip
_OTHERS = {
    "gpu_appeared": "a GPU appeared", "gpu_vanished": "a GPU vanished", "gpu_faulty": "a GPU is faulty",
    "gpu_recovered": "a GPU works again", "gpu_drained": "a GPU is drained",
    "gpu_undrained": "a GPU is no longer drained",
    "reservation_made": "a reservation was made", "reservation_changed": "a reservation was changed",
    "reservation_cancelled": "a reservation was cancelled", "reservation_began": "a reservation began",
    "reservation_ended": "a reservation ended", "daemon_started": "gflowd has started",
    "daemon_stopped": "gflowd was stopped",
    "test": "a test of notifications", "worker_restarted": "a worker of gflowd was restarted",
}  # fmt: skip
_HIDDEN = frozenset(("id", "at", "kind", "notify", "mark", "summary", "final"))


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent. `event_id` is the same whenever it is sent again."""

    event_id: str
    subject: str
    text: str


def subject(event: Mapping[str, Any]) -> str:
    """What happened, in a line."""
    if "summary" in event:
        return plain_text.line(f"{_who(event)} {_of_array(event)}", LONGEST_SUBJECT)
    if "job" in event:
        return plain_text.line(f"{_who(event)} {_happened(event)}", LONGEST_SUBJECT)
    what = _OTHERS.get(event["kind"], event["kind"])
    names = [str(event[key]) for key in ("gpu", "reservation", "worker") if event.get(key) is not None]
    return plain_text.line(f"{what}{f': {names[0]}' if names else ''}", LONGEST_SUBJECT)


def text(event: Mapping[str, Any], host: str, output: Sequence[str] = (), place: str = "", clock: Clock = HERE) -> str:
    """The whole text: what happened, what of it matters, the last lines of the `output` in `place`, how to see more."""
    rows = [*_rows(event), ("Time", clock.show(event["at"], SECOND)), ("Machine", host)]
    lines = [f"{subject(event)}.", "", *_table(rows)]
    if summary := event.get("summary"):
        lines += _failures(summary)
    if output:
        lines += ["", f"The end of its output{f' ({plain_text.line(place)})' if place else ''}:", ""]
        lines += [f"    {each}".rstrip() for each in output]
    lines += _more(event)
    return "\n".join(lines) + "\n"


def digest(messages: Sequence[tuple[float, str]], host: str, clock: Clock = HERE) -> tuple[str, str]:
    """Subject and text of one message for many, each with its time."""
    count = len(messages)
    shown = messages[-MOST_IN_DIGEST:]
    lines = [f"{count} notifications from gflow on {host}, in one:", ""]
    if count > len(shown):
        lines += [f"  ({count - len(shown)} older ones)"]
    lines += [f"  {clock.show(at, SECOND)}  {what}" for at, what in shown]
    lines += ["", "To see more:", "", "    gflowctl queue --all", ""]
    return plain_text.line(f"{count} notifications, the last: {shown[-1][1]}", LONGEST_SUBJECT), "\n".join(lines)


def _who(event: Mapping[str, Any]) -> str:
    name = plain_text.line(str(event.get("name") or "job"), LONGEST_NAME)
    if "summary" in event:
        return f"{name} (array {event.get('array_id', event['job'])})"
    if event.get("array_index") is not None and event.get("array_id") is not None:
        return f"{name} (job {event['array_id']}_{event['array_index']})"
    return f"{name} (job {event['job']})"


def _happened(event: Mapping[str, Any]) -> str:
    if (mark := event.get("mark")) in event_names.TIME_MARKS:
        left = event.get("seconds_left")
        rest = f", {length(left)} are left" if left else ""
        return f"has used {event_names.TIME_MARKS[mark]:.0%} of its time limit{rest}"
    kind: str = event["kind"]
    if kind == "job_ended":
        return _ended(event)
    if kind == "job_requeued" and (attempt := event.get("attempt")):
        return f"is queued again, for attempt {attempt}"
    if kind == "job_submitted" and (event.get("count") or 1) > 1:
        return f"was submitted: {event['count']} jobs"
    return _PLAIN_KINDS.get(kind, kind)


def _ended(event: Mapping[str, Any]) -> str:
    state, seconds = event.get("state"), event.get("run_seconds")
    after = f" after {length(seconds)}" if seconds is not None else ""
    if not event.get("final", True):
        return f"failed{after} and will be tried again"
    if state == "finished":
        return f"finished{after}"
    if state == "timeout":
        return f"exceeded its time limit{after}"
    reason = str(event.get("reason") or "")
    if state == "cancelled":
        why = f": {reason}" if reason and not reason.startswith("Cancelled") else ""
        return f"was cancelled{why}{after}"
    if reason in ("", "NonZeroExit") and event.get("exit_code") is not None:
        reason = f"exit code {event['exit_code']}"
    return f"failed: {reason}{f',{after}' if after else ''}" if reason else f"failed{after}"


def _of_array(event: Mapping[str, Any]) -> str:
    summary = event["summary"]
    if event["kind"] != "job_ended":
        return f"{_happened({**event, 'summary': None})}: {summary['count']} jobs"
    counts = [f"{summary['states'][state]} {_word(state)}" for state in STATES if summary["states"].get(state)]
    return f"has ended: {', '.join(counts)}"


def _word(state: str) -> str:
    return {"timeout": "over their time limit"}.get(state, state)


def _rows(event: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "job" not in event:
        for key, value in event.items():
            if key not in _HIDDEN and value is not None:
                yield key.replace("_", " ").capitalize(), str(value)
        return
    array = "summary" in event
    if event["kind"] == "job_ended" and not array:
        yield "State", str(event.get("state"))
        for key, title in (("reason", "Reason"), ("exit_code", "Exit code"), ("signal", "Signal")):
            if event.get(key) is not None:
                yield title, str(event[key])
    if event.get("run_seconds") is not None and not array:
        yield "Run time", length(event["run_seconds"])
    if (event.get("attempt") or 1) > 1:
        yield "Attempt", str(event["attempt"])
    if event.get("gpu_ids") and not array:
        yield "GPUs", ", ".join(map(str, event["gpu_ids"]))
    for key, title in (("user", "User"), ("project", "Project"), ("cwd", "Directory")):
        if event.get(key):
            yield title, str(event[key])


def _failures(summary: Mapping[str, Any]) -> Iterator[str]:
    if not summary.get("failures"):
        return
    yield ""
    yield "Not finished:"
    yield ""
    for each in summary["failures"]:
        yield f"    {plain_text.line(each)}"
    if (more := summary.get("more", 0)) > 0:
        yield f"    ... and {more} more"


def failure(event: Mapping[str, Any]) -> str:
    """A line on one element of an array that did not finish."""
    index = event.get("array_index")
    return plain_text.line(f"{event.get('array_id')}_{index if index is not None else '?'}: {_ended(event)}")


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{f'{title}:':<12}{plain_text.line(value)}" for title, value in rows]


def _more(event: Mapping[str, Any]) -> list[str]:
    if "job" not in event:
        return []
    job = event.get("array_id", event["job"]) if "summary" in event else event["job"]
    shown = ["", "To see more:", "", f"    gflowctl show {job}"]
    if "summary" in event:
        return [*shown, f"    gflowctl queue --all {job}"]
    return (
        [*shown, f"    gflowctl log {job}"] if event["kind"] in ("job_ended", "job_started", "job_requeued") else shown
    )


def length(seconds: float) -> str:
    """A run time as people say it: `12s`, `3m 20s`, `2h 13m`, `1d 4h`."""
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{int(seconds)}s"
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole % 86400 // 3600, whole % 3600 // 60
    if days:
        return f"{days}d {hours}h"
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {whole % 60}s"
