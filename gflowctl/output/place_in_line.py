"""Why a queued job waits, from its place in line: the score, who is ahead, what is promised or expected.

All of it is derived from what the daemon last observed and from the promises in the snapshot.
"""

from __future__ import annotations

from gflowctl.view import jobs, reasons
from gflowd.core.job.records import SPEC
from gflowd.core.queue.order import length_class, score, width_factor
from gflowd.core.syntax import durations
from gflowd.core.syntax.plurals import count, noun

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from gflowctl.view.views import View
    from gflowd.core.job.model import Job
    from gflowd.storage.observed_reader import Line

AHEAD = 3  # jobs ahead that are named
_LIKE = {
    "array": "as its array's last {runs}",
    "name": "as your last {runs} with this name",
    "width": "as your last {runs} {gpus}",
    "user": "as your last {runs}",
    "everybody": "as the last {runs} of all users",
    "default": "default_time_limit of the configuration",
    "guess": "no similar job has run yet",
}


class Standing:
    """A job's place in line. `seconds` is its length, predicted by `source` where it has no limit."""

    __slots__ = ("job", "rank", "ready", "runs", "score", "seconds", "share", "source")

    def __init__(self, job: Job, rank: int, line: Line, now: float) -> None:
        ready, limit = line.ready(job.id), job.spec.time_limit
        length: tuple[float, str | None, int] = (limit or 0.0, None, 0)
        if limit is None:
            length = line.length(job.id) or (0.0, "guess", 0)
        self.job: Final = job
        self.rank: Final = rank
        self.ready: Final = job.spec.submitted_at if ready is None else ready
        self.share: Final = line.share(job.spec.user)
        self.seconds: Final = length[0]
        self.source: Final = length[1]
        self.runs: Final = length[2]
        self.score: Final = score(now - self.ready, self.seconds, job.spec.gpus, self.share)

    def formula(self, now: float) -> str:
        """`score 2.4 = waited 3:10:00 / limit 2:00:00 (counts as 2:16:32) x 1.26 (2 GPUs) x 1.20 (fair share)`."""
        counts = length_class(self.seconds)
        what = "limit" if self.source is None else "length"
        said = f"score {self.score:.2g} = waited {durations.clock(max(now - self.ready, 0.0))}"
        said += f" / {what} {durations.clock(self.seconds)} (counts as {durations.clock(counts)})"
        if self.job.spec.gpus > 1:
            said += f" x {width_factor(self.job.spec.gpus):.2f} ({count(self.job.spec.gpus, 'GPU')})"
        return said if self.share == 1.0 else f"{said} x {self.share:.2g} (fair share)"


def of(view: View, job: Job) -> Standing | None:
    """Where a queued job stands; None if the daemon did not say, or if the job waits for something else."""
    rank = reasons.rank(view, job)
    return None if rank is None else Standing(job, rank, view.observed.line, view.now)


def points(view: View, job: Job) -> float | None:
    """The score of a queued job, to three digits; None if it is not in line."""
    found = of(view, job)
    return None if found is None else float(f"{found.score:.3g}")


def lines(view: View, job: Job) -> Iterator[tuple[str, str]]:
    """What `show` says of it."""
    found = of(view, job)
    if found is None:
        return
    yield "In line", f"{ordinal(found.rank)}, {found.formula(view.now)}{_ahead(view, found)}"
    if found.source is not None:
        yield "Length", f"expected to take about {durations.clock(found.seconds)}, {_like(found)}; not a limit"
    yield from _promise(view, job, found)


def _like(found: Standing) -> str:
    gpus = found.job.spec.gpus
    wide = f"{gpus}-GPU jobs" if gpus else "jobs without GPUs"
    runs = "run" if found.runs == 1 else count(found.runs, "run")
    text = _LIKE.get(found.source or "", "").format(runs=runs, gpus=wide)
    return text.replace(f"runs {wide}", wide).replace(f"run {wide}", f"of the {wide}")


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `13th`."""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _ahead(view: View, found: Standing) -> str:
    """The last of those ahead, with their scores."""
    ahead = []
    for job_id in reasons.order(view)[max(0, found.rank - 1 - AHEAD) : found.rank - 1]:
        if view.spec_of(job_id) in view.records.of(SPEC):
            other = of(view, view.job(job_id))
            ahead.append(jobs.label(view.job(job_id)) + ("" if other is None else f" ({other.score:.2g})"))
        else:  # only what is shown has been read
            ahead.append(str(job_id))
    return f"; behind {', '.join(ahead)}" if ahead else ""


def _promise(view: View, job: Job, found: Standing) -> Iterator[tuple[str, str]]:
    record, expected = reasons.promise(view, job), reasons.estimated_start(view, job)
    if record is not None and record["at"] is not None:
        by = [str(job_id) for job_id, _ in record["by"]]
        many = len(by)
        who = f" ({noun(many, 'job')} {', '.join(by)} {noun(many, 'ends', 'end')} by then)" if by else ""
        yield "Promised", f"{view.clock.stamp(record['at'])} at the latest{who}"
        if "cause" in record:
            yield "Moved", f"from {view.clock.stamp(record['was'])}, because {record['cause']}"
    elif record is not None:
        yield "Promise", "its place is kept; no time is promised, because it depends on jobs without a limit"
    elif (latest := _promised_from(view, found)) is not None:
        yield "Promise", f"none yet; from {view.clock.stamp(latest)} at the latest no other job may delay it"
    if expected is not None:
        yield "Expected", f"~{view.clock.stamp(expected)}, if jobs take as long as expected"


def _promised_from(view: View, found: Standing) -> float | None:
    """When the job is promised a start, if it is then the first one that cannot start."""
    settings = view.context.settings
    after, within = settings.get("promise_after"), settings.get("promise_within")
    if after is None or within is None:
        return None
    return found.ready + float(min(after * found.seconds, within))


def _in_line(view: View, job: Job) -> int:
    """The id under which the daemon told of a job: of an array's elements that wait, of the first."""
    if job.array_id is not None and job.id not in view.ranks:
        return next((each for each in view.ranks if view.array_of(each) == job.array_id), job.id)
    return job.id


def advice(view: View, job: Job) -> str | None:
    """`give it a --time below 4:00:00 and it starts now`; None if nothing is known to help."""
    line, job_id = view.observed.line, _in_line(view, job)
    until, longest = line.until(job_id), line.longest(job_id)
    if until is not None and until > view.now:
        return f"give it a --time below {durations.clock(until - view.now)} and it starts now"
    if longest is not None:
        return f"give it a --time of at most {durations.clock(longest)}"
    return None
