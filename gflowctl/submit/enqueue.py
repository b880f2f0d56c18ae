"""Puts drafts into the queue, all of them in one commit or none."""

from __future__ import annotations

from gflowctl.submit import capture
from gflowd.core.errors import Refused
from gflowd.core.job import codec
from gflowd.core.job.model import Job, Queued, Wish
from gflowd.core.job.records import SPEC, WISH
from gflowd.core.job.value_base import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, Final

    from gflowctl.context import Context
    from gflowctl.submit.drafting import Draft, Drafter
    from gflowd.core.job.model import Spec
    from gflowd.storage.record_log import Fold
    from gflowd.storage.store import Commit


class New(Value):
    """One submission: its spec, its first id (0 in a dry run), and whether it is held."""

    __slots__ = ("first", "held", "spec")

    def __init__(self, first: int, spec: Spec, *, held: bool) -> None:
        self.first: Final = first
        self.spec: Final = spec
        self.held: Final = held

    @property
    def ids(self) -> range:
        """The ids of its jobs."""
        return range(self.first, self.first + _size(self.spec))

    @property
    def jobs(self) -> Iterable[Job]:
        """Its jobs, as they are submitted."""
        wish = Wish(held=self.held)
        if self.spec.family is None:
            return (Job(self.first, self.spec, wish, Queued()),)
        from gflowctl.submit import sweeps

        return sweeps.jobs(self.spec, self.first, wish)

    def renumbered(self, by: int) -> New:
        """The same with `by` added to each provisional id."""
        return New(self.first + by, self.spec.replace(**_own_ids(self.spec, by)), held=self.held)

    def put(self, commit: Commit) -> None:
        """Its records: one spec, and a wish for each job that is to be held."""
        commit.put(SPEC, self.first, codec.encode(self.spec))
        if self.held:
            held = codec.encode(Wish(held=True))
            for job_id in self.ids:
                commit.put(WISH, job_id, held)


def renumbered(made: Sequence[New], by: int) -> list[New]:
    """These as the gateway has numbered them."""
    return [new.renumbered(by) for new in made]


def _own_ids(spec: Spec, by: int) -> dict[str, Any]:
    """The fields of a spec that name new jobs."""
    found: dict[str, Any] = {}
    if spec.batch is not None:
        found["batch"] = spec.batch + by
    if spec.needs is not None:
        from gflowd.core.job.records import PROVISIONAL

        found["needs"] = spec.needs.replace(
            dependencies=tuple(
                each if each.id is None or each.id < PROVISIONAL else each.replace(id=each.id + by)
                for each in spec.needs.dependencies
            )
        )
    return found


def queue(drafts: Sequence[Draft], drafter: Drafter, context: Context) -> list[New]:
    """Commits them with consecutive ids. Raises `Refused` if one waits for a job that does not exist, `IsQueued` if
    one with `skip_if_queued` has a namesake that has not ended.
    """
    context.writable_store  # noqa: B018 -- it makes the state directory
    files = capture.keep(context.state, drafter.environments.values(), drafter.scripts.values())

    def decide(commit: Commit) -> list[New]:
        has_quota = context.may_have_queue_quota(commit)
        waits = any(draft.waits_for is not None for draft in drafts)
        skips = any(draft.answer.skip_if_queued for draft in drafts)
        fold = commit.fold() if has_quota or waits or skips else None
        if fold is not None and skips:
            _check_namesakes(drafts, context, fold)
            commit.unless(drafts[0].spec.name)  # it is the only one
        found = _complete(drafts, context, fold)
        if has_quota or context.settings.get("quotas"):
            _check_quotas(context, fold if has_quota else None, found)
        made: list[New] = []
        for draft, spec in found:
            first = commit.allocate(_size(spec))
            if len(found) > 1:
                spec = spec.replace(batch=made[0].first if made else first)  # noqa: PLW2901 -- now it is known
            new = New(first, spec, held=draft.held)
            new.put(commit)
            made.append(new)
        return made

    return context.change(decide, files=files, renumbered=renumbered)


def rehearse(drafts: Sequence[Draft], context: Context) -> list[New]:
    """What `queue` would make, and raise."""
    fold = context.store.read()
    _check_namesakes(drafts, context, fold)
    found = _complete(drafts, context, fold)
    _check_quotas(context, fold, found)
    return [New(0, spec, held=draft.held) for draft, spec in found]


def _check_namesakes(drafts: Sequence[Draft], context: Context, fold: Fold) -> None:
    asking = [draft.spec for draft in drafts if draft.answer.skip_if_queued]
    if asking:
        from gflowctl.submit import skipping
        from gflowctl.view import views

        view = views.View(context, fold)
        for spec in asking:
            skipping.check(view, spec)


def _check_quotas(context: Context, fold: Fold | None, found: Sequence[tuple[Draft, Spec]]) -> None:
    from gflowctl.machine import quotas

    quotas.check(context, fold, [(spec, _size(spec)) for _, spec in found])


def _complete(drafts: Sequence[Draft], context: Context, fold: Fold | None) -> list[tuple[Draft, Spec]]:
    """Adds the dependencies of each, resolved with `fold`, which may be None if none waits."""
    waiting = [draft.waits_for for draft in drafts if draft.waits_for is not None]
    if fold is None or not waiting:
        return [(draft, draft.spec) for draft in drafts]
    from gflowctl.view import dependency_request

    records = dependency_request.recalled(waiting, fold, context)
    resolve = dependency_request.resolver(records, context.user)
    found = []
    for draft in drafts:
        spec = draft.spec
        if draft.waits_for is not None:
            try:
                wanted = draft.waits_for.needs(resolve)
                dependency_request.check_elements(wanted, spec.family, records)
            except Refused as error:
                raise Refused(f"{draft.where}{error}") from None
            spec = spec.replace(needs=wanted)
        found.append((draft, spec))
    return found


def _size(spec: Spec) -> int:
    if spec.family is None:
        return 1
    from gflowd.core.job import arrays

    return arrays.size(spec.family)
