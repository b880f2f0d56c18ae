"""Which jobs a list shows, and which elements of arrays stand for others in it; `queue` says what is shown of them."""

from __future__ import annotations

from gflowctl.view import jobs
from gflowd.core.job.model import ENDED_STATES
from gflowd.core.job.value_base import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from typing import Final

    from gflowctl.view.views import View
    from gflowd.core.job.model import Job

    Counted = tuple[Job, str | None, int]


class Listing(Value):
    """What is asked for: `named` jobs, or those that have not ended, with `ended` all, with `only_ended` only the
    others; those of an array or sweep (`group`), in these `states`, of these `names`, `projects` and `users`, that were
    submitted or ended `since` then. `limit`: how many of them, as far as that is known beforehand; negative: the last.
    """

    __slots__ = ("ended", "group", "limit", "named", "names", "only_ended", "projects", "since", "states", "users")

    def __init__(  # noqa: PLR0913 -- one argument per thing that may be asked
        self,
        *,
        named: Sequence[str] = (),
        ended: bool = False,
        only_ended: bool = False,
        states: Collection[str] = (),
        names: Collection[str] = (),
        projects: Collection[str] = (),
        users: Collection[str] = (),
        group: str | None = None,
        since: float | None = None,
        limit: int | None = None,
    ) -> None:
        self.named: Final = named
        self.ended: Final = ended
        self.only_ended: Final = only_ended
        self.states: Final = states
        self.names: Final = names
        self.projects: Final = projects
        self.users: Final = users
        self.group: Final = group
        self.since: Final = since
        self.limit: Final = limit

    def fits(self, state: str, name: str, project: str | None, last_at: float) -> bool:
        """Whether a job is meant of which something last happened at `last_at`."""
        return (
            (not self.states or state in self.states)
            and (not self.names or name in self.names)
            and (not self.projects or project in self.projects)
            and (self.since is None or last_at >= self.since)
        )


def ids(view: View, asked: Listing) -> list[int]:
    """The ids worth decoding: most jobs have ended, and these are rarely requested."""
    found = _considered(view, asked)
    return view.owned(found, asked.users) if asked.users else found


def matching(view: View, asked: Listing, *, unfolded: bool) -> list[Counted]:
    """The jobs that are meant, each with its label and how many it stands for; if `unfolded`, for itself."""
    found = ids(view, asked)
    rows: Iterable[tuple[int, str | None, int]]
    if unfolded or not view.families:
        rows = ((job_id, None, 1) for job_id in found)
    else:
        from gflowctl.view import folding

        rows = folding.fold(view, found, by_name=bool(asked.names))
    counted = ((view.job(job_id), label, number) for job_id, label, number in rows)
    return [each for each in counted if _fits(asked, each[0])]


def _fits(asked: Listing, job: Job) -> bool:
    last_at = max(job.spec.submitted_at, jobs.ended_at(job) or 0)
    return asked.fits(jobs.state(job), jobs.name(job), job.spec.project, last_at)


def _considered(view: View, asked: Listing) -> list[int]:
    over = not set(ENDED_STATES).isdisjoint(asked.states)
    if not asked.named and (asked.ended or asked.only_ended or over) and view.has_history:
        from gflowd.storage.history_queries import Choice

        view.recall(Choice(asked.users, asked.projects, asked.names, asked.states, asked.since, asked.limit))
    if asked.named:
        from gflowctl.view import series_runs

        found = series_runs.with_runs(view, asked.named)
    else:
        found = view.ids()
    if asked.group is not None:
        from gflowctl.view import arrays

        wanted = arrays.find(view, asked.group)
        found = [job_id for job_id in found if view.array_of(job_id) in wanted]
    if asked.only_ended:
        return [job_id for job_id in found if view.has_ended(job_id)]
    if asked.ended or asked.named or over:
        return found
    return [job_id for job_id in found if not view.has_ended(job_id)]
