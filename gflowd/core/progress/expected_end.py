"""When a job can be expected to end, by how far it is: an estimate for people, which no decision rests on."""

from __future__ import annotations

from gflowd.core.job.value_base import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from gflowd.core.progress.bar import Bar

LEAST = 0.02  # of the whole: before that a pace says nothing
SILENT_AFTER, SILENT_TIMES = 60.0, 2.0  # seconds without news; and that many times what it had run until the last
MOST_OF_IT = 0.8  # of the run: a bar that has not run that long counts a part of the job

DONE, EARLY, OVERDUE, PART, SILENT = "done", "early", "overdue", "part", "silent"


class Outlook(Value):
    """The seconds that it is expected to run from now, or why there is no telling."""

    __slots__ = ("doubt", "left")

    def __init__(self, left: float | None, doubt: str | None = None) -> None:
        self.left: Final = left
        self.doubt: Final = doubt


def of(fraction: float, *, ran: float, since: float, bar: Bar | None = None) -> Outlook:
    """By the `fraction` that was reported `since` seconds ago, of a job that has `ran` seconds until now; both without
    suspensions. With a `bar`, which may count only a part of the job: by what that says.
    """
    then = ran - since
    if fraction >= 1:
        return Outlook(None, DONE)
    if bar is not None and (bar.one_of_several or bar.ran < MOST_OF_IT * then):
        return Outlook(None, PART)
    if fraction < LEAST or then <= 0:
        return Outlook(None, EARLY)
    if since > max(SILENT_AFTER, SILENT_TIMES * then):
        return Outlook(None, SILENT)
    whole = then * (1 - fraction) / fraction if bar is None or bar.left is None else bar.left
    return Outlook(whole - since) if whole > since else Outlook(None, OVERDUE)


def run_since(age: float, *, paused: float, since_pause: float | None) -> float:
    """How long a job has run since something `age` seconds ago: suspensions, `paused` seconds altogether, do not count.
    `since_pause`: since the end of the last one, None if there was none.
    """
    return age if since_pause is None or age <= since_pause else max(since_pause, age - paused)
