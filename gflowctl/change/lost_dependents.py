"""What falls with jobs that are cancelled: those that wait for them and then never can run. Judged by the snapshot."""

from __future__ import annotations

from gflowctl.view import dependencies, jobs
from gflowd.core.job.records import SPEC
from gflowd.core.queue.dependency_rules import Never

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gflowctl.view.views import View
    from gflowd.core.job.model import Job


class Falls:
    """Of the jobs that wait for some that are cancelled: those that are cancelled too, at whatever remove, and those
    that stay queued though they can never run.
    """

    __slots__ = ("cancelled", "stuck")

    def __init__(self) -> None:
        self.cancelled: list[Job] = []
        self.stuck: list[Job] = []


def of(view: View, ids: Iterable[int]) -> Falls:
    """What falls with these jobs, which had not ended."""
    found = Falls()
    waiting = _by_target(view)
    if not waiting:
        return found
    lost, stuck = set(ids), set[int]()
    news = set(lost)
    while news:
        fallen = [job for job in _dependents(view, waiting, news, lost) if _never(view, job, lost, stuck)]
        news = {job.id for job in fallen if job.spec.needs is not None and job.spec.needs.auto_cancel}
        lost |= news
        found.cancelled += [job for job in fallen if job.id in news]
        found.stuck += [job for job in fallen if job.id not in news and job.id not in stuck]
        stuck |= {job.id for job in fallen if job.id not in news}
    news = set(stuck)
    while news:
        more = [job for job in _dependents(view, waiting, news, lost | stuck) if _never(view, job, lost, stuck)]
        news = {job.id for job in more}
        stuck |= news
        found.stuck += more
    return found


def _by_target(view: View) -> dict[int, list[int]]:
    """The ids of specs that wait for something, by the ids of jobs and arrays that they name."""
    found: dict[int, list[int]] = {}
    for spec_id, raw in view.records.of(SPEC).items():
        for each in (raw.get("needs") or {}).get("dependencies", ()):
            if each.get("id") is not None:
                found.setdefault(each["id"], []).append(spec_id)
    return found


def _dependents(view: View, waiting: dict[int, list[int]], news: set[int], over: set[int]) -> Iterator[Job]:
    """The jobs that wait for one of `news`, less those that are `over`; each once."""
    named = {each for job_id in news for each in (job_id, view.spec_of(job_id))}
    specs = {spec_id: None for target in named if target in waiting for spec_id in waiting[target]}
    for spec_id in sorted(specs):
        for job_id in view.ids_of(spec_id):
            if job_id not in over and not view.has_ended(job_id) and jobs.is_waiting(job := view.job(job_id)):
                yield job


def _never(view: View, job: Job, lost: set[int], stuck: set[int]) -> bool:
    return isinstance(dependencies.verdict(view, job, lost, stuck), Never)


def told(view: View, cancelled: Sequence[Job], *, dry: bool) -> list[str]:
    """Sentences that name what falls with jobs that are, or would be, cancelled: none for nothing."""
    found, lines = of(view, [job.id for job in cancelled]), []
    if found.cancelled:
        one = len(found.cancelled) == 1
        on = (
            f"job{_s(cancelled)} {jobs.some_labels(cancelled)}"
            if len(cancelled) == 1 or _are_one_array(cancelled)
            else "these"
        )
        what = "Would also cancel" if dry else "Also cancelling"
        depend = "depends" if one else "depend"
        lines.append(f"{what} job{_s(found.cancelled)} {jobs.some_labels(found.cancelled)}, which {depend} on {on}")
    if found.stuck:
        stay = "stays" if len(found.stuck) == 1 else "stay"
        can = "would" if dry else "can"
        named = f"Job{_s(found.stuck)} {jobs.some_labels(found.stuck)}"
        lines.append(f"{named} {can} never run and {stay} queued (--no-auto-cancel)")
    return lines


def _are_one_array(found: Sequence[Job]) -> bool:
    return found[0].array_id is not None and all(job.array_id == found[0].array_id for job in found)


def _s(found: Sequence[Job]) -> str:
    return "s" if len(found) > 1 else ""
