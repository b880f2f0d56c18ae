"""One job or array: everything that `gflowctl show` says, its attempts, its script, and its output."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gflowctl.machine import explanations, job_details
from gflowctl.output import resource_usage
from gflowctl.view import jobs, kept_submission
from gflowctl.view import reasons as why_jobs
from gflowctl.web import log_pieces
from gflowctl.web.pages import queue
from gflowctl.web.pages.frame import Page, Query, number, one
from gflowd.core.errors import Refused
from gflowd.core.job import array_ids
from gflowd.core.job.model import Ended, Queued
from gflowd.core.syntax import durations

if TYPE_CHECKING:
    from gflowctl.view.views import View
    from gflowd.core.job.model import Job

LEFT_OUT = ("Job", "Name", "State", "Last lines")  # said elsewhere on the page
ELEMENTS = 200  # of an array that are listed
LONGEST_SCRIPT = 1 << 16  # bytes
FRAGMENTS = ("job",)


@dataclass(frozen=True, slots=True)
class Output:
    """Where one output of a job is. `stream`: the job's output or its separate error file; `attempt`: of which."""

    path: str
    terminal: bool
    attempt: int
    stream: str = "output"


def find(view: View, text: str) -> tuple[Job, bool]:
    """The job that an address names, and whether that means the whole array. Raises `Refused`."""
    if not text or len(text) > 40 or not all(part.isascii() and part.isdigit() for part in text.split("_")):
        raise Refused(f"no job {text[:40]!r}")
    ids = view.select([text])
    return view.job(ids[0]), "_" not in text and ids[0] in view.families


def build(view: View, query: Query, text: str) -> Page:
    """`attempt`, `stream` (output or error), `at` (a place in the log, in bytes)."""
    job, is_array = find(view, text)
    explain = explanations.Explainer(view, view).words
    if is_array:
        return _array(view, job, explain)
    label, state = jobs.label(job), jobs.state(job)
    lines = [(key, said) for key, said in job_details.lines(view, job, explain) if not _is_elsewhere(key)]
    found = output(view, job, number(query, "attempt"), one(query, "stream"))
    at = number(query, "at") if one(query, "at") else None
    values = {
        "label": label, "name": jobs.name(job), "state": state, "meaning": queue.meaning(why_jobs.reason(view, job)),
        "user": job.spec.user, "lines": lines, "may": queue.may(view, job), "array": job.array_id,
        "attempts": _attempts(view, job), "script": _script(view, job), **shown(found, at),
        "output": found, "has_errors": job.spec.error is not None, "is_over": view.has_ended(job.id),
    }  # fmt: skip
    return Page("job", f"Job {label}", "queue", values, FRAGMENTS)


def _is_elsewhere(key: str) -> bool:
    """Whether the page says it in another place: so it does of `Attempt 1` and `Log 1`."""
    return key in LEFT_OUT or key.startswith(("Attempt ", "Log "))


def _array(view: View, first: Job, explain: job_details.Explain) -> Page:
    ids = view.ids_of(first.id)
    elements = [queue.row(view, each) for each in ids[:ELEMENTS]]
    values = {
        "label": str(first.id), "name": first.spec.name_template or first.spec.name, "user": first.spec.user,
        "lines": job_details.lines_of_array(view, first, explain)[2:], "rows": elements, "count": len(ids),
        "named": "" if first.spec.family is None else array_ids.name(first.spec.family, first.id, ids),
        "may": _may_of_array(view, first),
    }  # fmt: skip
    return Page("array", f"Array {first.id}", "queue", values, ("array",))


def _may_of_array(view: View, first: Job) -> tuple[str, ...]:
    found = {what for each in view.ids_of(first.id)[:ELEMENTS] for what in queue.may(view, view.job(each))}
    return tuple(what for what in ("release", "hold", "cancel", "redo") if what in found)


def _attempts(view: View, job: Job) -> list[dict[str, Any]]:
    """Every attempt, the last one first."""
    found = []
    last = jobs.attempt(job)
    for attempt in range(last, 0, -1):
        past = view.past(job.id, attempt) if attempt < last or isinstance(job.phase, Ended) else None
        if attempt < last and past is None:
            continue
        began = jobs.started_at(job) if past is None else past.started_at
        ended = None if past is None else past.ended_at
        how = jobs.state(job) if past is None else past.state
        found.append(
            {
                "number": attempt, "state": how, "reason": "" if past is None else past.reason or "",
                "code": "" if past is None or past.exit_code is None else str(past.exit_code),
                "began": "" if began is None else view.clock.near(began, view.now, seconds=True),
                "ended": "" if ended is None else view.clock.near(ended, view.now, seconds=True),
                "took": "" if began is None or ended is None else durations.clock(ended - began),
                "used": "" if past is None else resource_usage.brief(past.used), "has_log": began is not None,
            }
        )  # fmt: skip
    return found


def _script(view: View, job: Job) -> str | None:
    if job.spec.script is None:
        return None
    with suppress(OSError):
        return log_pieces.plain(kept_submission.script(view.context.state, job.spec)[:LONGEST_SCRIPT])
    return None


def output(view: View, job: Job, attempt: int = 0, stream: str = "") -> Output | None:
    """Where the output of an attempt is, by default of the last that began; None before the first. Raises `Refused`."""
    last = jobs.attempt(job)
    if attempt > last:
        raise Refused(f"job {jobs.label(job)} has no attempt {attempt}; its last is {last}")
    chosen = attempt or (last - 1 if isinstance(job.phase, Queued) else last)
    if chosen < 1:
        return None
    if stream == "error" and job.spec.error is not None:
        return Output(jobs.file_name(job, job.spec.error) or "", terminal=False, attempt=chosen, stream="error")
    past = view.past(job.id, chosen) if chosen < last else None
    path = jobs.log_path(view.context.state, job, chosen)
    return Output(path, terminal=jobs.is_terminal_log(job, past), attempt=chosen)


def shown(found: Output | None, at: int | None) -> dict[str, Any]:
    """The piece of the log that is shown, or why there is none; where the pieces before and after it begin."""
    piece, trouble = None, ""
    if found is None:
        trouble = "It has not started, so there is no output."
    else:
        try:
            piece = log_pieces.piece(found.path, at, terminal=found.terminal)
            trouble = "" if piece is not None else "It has written nothing yet, or its output is no longer there."
        except Refused as error:
            trouble = str(error)
    before = after = None
    if piece is not None:
        before = max(0, piece.begin - log_pieces.PIECE) if piece.begin else None
        after = piece.end if at is not None and piece.end < piece.size else None
    return {
        "piece": piece, "trouble": trouble, "before": before, "after": after, "at": at, "follows": at is None,
    }  # fmt: skip


class Following:
    """The growth of the output that a page shows: of the attempt that was asked for, or always of the last. Mutable."""

    def __init__(self, text: str, query: Query, begin: int) -> None:
        self._text = text
        self._query = query
        self._begin = begin
        self._path: str | None = None
        self._growth: log_pieces.Growth | None = None
        self._is_other = False

    def look(self, view: View) -> None:
        """Finds out which file that is by now. Raises `Refused`."""
        job, is_array = find(view, self._text)
        found = None if is_array else output(view, job, number(self._query, "attempt"), one(self._query, "stream"))
        if found is None or found.path == self._path:
            return
        self._is_other = self._path is not None
        self._path = found.path
        self._growth = log_pieces.Growth(found.path, 0 if self._is_other else self._begin, terminal=found.terminal)

    def news(self) -> dict[str, object] | None:
        """As `Growth.news`; nothing of a log that cannot be read."""
        with suppress(Refused):
            news = None if self._growth is None else self._growth.news()
            if news is not None and self._is_other:
                news["anew"], self._is_other = True, False
            return news
        return None
