"""How far a job or an array is, in words, for `gflowctl show`."""

from __future__ import annotations

from gflowctl.output import render
from gflowctl.view.progress import BAR
from gflowd.core.job.model import Begun, Suspended
from gflowd.core.progress import expected_end, report
from gflowd.core.syntax import durations
from gflowd.core.syntax.plurals import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gflowctl.view.progress import Progress
    from gflowctl.view.views import View
    from gflowd.core.job.model import Job

_DOUBTS = {
    expected_end.EARLY: "too early to tell",
    expected_end.OVERDUE: "by that it should have ended by now",
    expected_end.PART: "the bar does not count the whole job",
    expected_end.SILENT: "nothing new for too long",
}


def lines(view: View, job: Job) -> Iterator[tuple[str, str]]:
    """What a live job says, and when its end can be expected; what an ended one said last."""
    found = view.progress(job, singly=True)
    if found is None:
        return
    said = f", {render.escape(found.text)}" if found.text else ""
    yield "Progress", f"{report.percent(found.fraction)}{said} ({_whence(view, job, found)})"
    if found.expected_end is not None:
        yield "Expected end", f"~{view.clock.stamp(found.expected_end)}{_late(view, job, found.expected_end)}"
    elif found.doubt in _DOUBTS:
        yield "Expected end", f"not known: {_DOUBTS[found.doubt]}"


def _whence(view: View, job: Job, found: Progress) -> str:
    if not isinstance(job.phase, Begun):
        return "its last report"
    ago = f"{durations.clock(max(0.0, view.now - found.at))} ago"
    if found.source == BAR:
        return f"the progress bar in its log, {ago}"
    return f"reported {ago}; it is suspended" if isinstance(job.phase, Suspended) else f"reported {ago}"


def _late(view: View, job: Job, end: float) -> str:
    left = view.time_left(job)
    return "" if left is None or end - view.now <= left else ", which is after its time limit"


def of_array(view: View, running: Sequence[Job]) -> Iterator[tuple[str, str]]:
    """The range of what those of its elements say that run, and when all of these can be expected to have ended."""
    known = [each for each in map(view.progress, running) if each is not None]
    if not known:
        return
    least, most = (report.percent(of(each.fraction for each in known)) for of in (min, max))
    spread = least if least == most else f"{least} to {most}"
    yield "Progress", f"{spread} ({len(known)} of {count(len(running), 'running job')})"
    ends = [each.expected_end for each in known if each.expected_end is not None]
    if len(ends) == len(running):
        yield "Expected end", f"~{view.clock.stamp(max(ends))} (of those running)"
