"""Puts drafts into the queue, all of them in one commit or none."""

from __future__ import annotations

from gflowctl import job_options, submission
from gflowd.core import codec
from gflowd.core.errors import Refused
from gflowd.core.model import Job, Queued, Value, Wish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Final

    from gflowctl.context import Context
    from gflowctl.drafts import Draft, Drafter
    from gflowd.core.model import Spec
    from gflowd.snapshot import Fold


class New(Value):
    """One submission: its spec, its first id (0 where it was only rehearsed), and whether it is held."""

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
        from gflowctl import sweeping

        return sweeping.jobs(self.spec, self.first, wish)


def queue(drafts: Sequence[Draft], drafter: Drafter, context: Context) -> list[New]:
    """Commits them; their ids follow upon each other. Raises `Refused` when one waits for what is not there."""
    store = context.writable_store
    for variables in drafter.environments.values():
        submission.keep_environment(context.state, variables)
    for content in drafter.scripts.values():
        submission.keep_script(context.state, content)
    made = []
    with store.commit() as commit:
        found = list(_complete(drafts, context, commit.fold))
        if context.may_have_queue_quota(commit):
            _check_quotas(context, commit.fold(), found)
        for draft, spec in found:
            new = New(commit.allocate(_size(spec)), spec, held=draft.args.hold)
            commit.put("spec", new.first, codec.encode(spec))
            if new.held:
                held = codec.encode(Wish(held=True))
                for job_id in new.ids:
                    commit.put("wish", job_id, held)
            made.append(new)
    return made


def rehearse(drafts: Sequence[Draft], context: Context) -> list[New]:
    """What `queue` would make."""
    found = list(_complete(drafts, context, context.store.read))
    _check_quotas(context, context.store.read(), found)
    return [New(0, spec, held=draft.args.hold) for draft, spec in found]


def _check_quotas(context: Context, fold: Fold, found: Sequence[tuple[Draft, Spec]]) -> None:
    from gflowctl import quotas

    quotas.check(context, fold, [(spec, _size(spec)) for _, spec in found])


def _complete(drafts: Sequence[Draft], context: Context, read: Callable[[], Fold]) -> Iterable[tuple[Draft, Spec]]:
    """With what each waits for, judged by the snapshot, which is read only if one does."""
    fold = resolve = None
    for draft in drafts:
        spec = draft.spec
        if job_options.names_dependencies(draft.args):
            from gflowctl import needs

            if fold is None or resolve is None:
                fold = read()
                needs.recall([each.args for each in drafts], fold, context)
                resolve = needs.resolver(fold, context.user)
            try:
                wanted = needs.given(draft.args, resolve)
                needs.check_elements(wanted, spec.family, fold)
                spec = spec.replace(needs=wanted)
            except Refused as error:
                raise Refused(f"{draft.where}{error}") from None
        yield draft, spec


def _size(spec: Spec) -> int:
    if spec.family is None:
        return 1
    from gflowd.core import arrays

    return arrays.size(spec.family)
