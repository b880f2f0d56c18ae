"""Which jobs squeue and sacct are asked for, and these jobs as rows: waiting elements of an array as one."""

from __future__ import annotations

import os

from gflowctl.slurm.report import facts
from gflowctl.slurm.report.facts import Facts, Row
from gflowctl.view import jobs, views
from gflowd.core.errors import Refused
from gflowd.core.slurm import job_states, site

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Final

    from gflowctl.context import Context
    from gflowctl.view.views import View
    from gflowd.core.slurm.job_words import Named

UNFINISHED = frozenset(job_states.SHORT) - job_states.OVER


class UnknownJob(Exception):
    """The only job that was named does not exist, or is no longer known."""


class Wanted:
    """What squeue's options choose. `states` None: all; others None: whichever."""

    __slots__ = ("accounts", "elements", "named", "names", "states", "unknown_users", "users")

    def __init__(
        self,
        *,
        named: Sequence[Named] | None,
        users: frozenset[str] | None,
        unknown_users: Sequence[str],
        names: frozenset[str] | None,
        accounts: frozenset[str] | None,
        states: frozenset[str] | None,
        elements: bool,
    ) -> None:
        self.named: Final = named
        self.users: Final = users
        self.unknown_users: Final = unknown_users
        self.names: Final = names
        self.accounts: Final = accounts
        self.states: Final = states
        self.elements: Final = elements  # each by itself


def wanted(options: Mapping[str, str | None], context: Context) -> Wanted:
    """What the options choose. Raises `Refused`."""
    chosen, unknown = facts.users(words(options.get("users")) or ())
    if "me" in options:
        chosen |= {context.user}
    check_nodes(options.get("nodelist"))
    states = options.get("states")
    if options.get("reservation") or options.get("licenses"):  # no job has any
        states = ""
    names, accounts = words(options.get("name")), words(options.get("account"))
    return Wanted(
        named=_named(options.get("jobs")),
        users=chosen if "users" in options or "me" in options else None,
        unknown_users=unknown,
        names=None if names is None else frozenset(names),
        accounts=None if accounts is None else frozenset(accounts),
        states=UNFINISHED if states is None else job_states.parse(states),
        elements="array" in options or "array-unique" in options,
    )


def _named(text: str | None) -> list[Named] | None:
    if text is None:
        return None
    from gflowd.core.slurm import job_words

    return job_words.parse(text)


def words(text: str | None) -> list[str] | None:
    """The words of a list; None for no list."""
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def seconds(text: str) -> float:
    """How long to wait between two lists. Raises `Refused`."""
    if not (text.isascii() and text.isdigit() and int(text[:6]) > 0 and len(text) <= len("100000")):
        raise Refused(f"Invalid iterate value: {text}")
    return float(text)


def check_clusters(text: str | None) -> None:
    """Raises `Refused` for a cluster that is another."""
    for name in words(text) or ():
        if name not in (site.CLUSTER, "all"):
            raise Refused(f"No cluster {name!r} known; the only one is {site.CLUSTER}")


def check_nodes(text: str | None) -> None:
    """Raises `Refused` for a node that is another."""
    node = os.uname().nodename
    for name in words(text) or ():
        if name not in (node, site.node(node), "localhost"):
            raise Refused(f"Invalid node name {name}")


def queued(choice: Wanted, context: Context) -> tuple[list[Row], Facts]:
    """The jobs of the queue that are meant, with those that ended a moment ago. Raises `UnknownJob`."""
    view = _view(choice, context)
    told = Facts(view, context.environ)
    asks_for_ended = choice.states is None or not choice.states.isdisjoint(job_states.OVER)
    if asks_for_ended and view.has_history:
        from gflowd.storage.history_queries import Choice

        view.recall(Choice(choice.users or (), (), choice.names or (), (), view.now - site.MIN_JOB_AGE))
    ids = view.ids() if choice.named is None else _known(view, choice.named)
    if choice.users is not None:
        ids = view.owned(ids, choice.users)
    if not asks_for_ended:
        ids = [job_id for job_id in ids if not view.has_ended(job_id)]
    found = rows(view, ids, elements=choice.elements or names_element(view, choice.named))
    return [row for row in found if _fits(choice, told, row)], told


def _view(choice: Wanted, context: Context) -> View:
    """The jobs, perhaps only those that are named: a program may ask for one job each few seconds."""
    if choice.named and all(each.indices is None for each in choice.named):
        from gflowctl.view import lookup

        return lookup.view(context, [str(each.id) for each in choice.named])
    return views.View(context, context.store.read())


def names_element(view: View, named: Sequence[Named] | None) -> bool:
    """Whether one of the words names elements of an array: these are shown by themselves."""
    return any(
        each.indices is not None or (each.id not in view.families and view.array_of(each.id) is not None)
        for each in named or ()
    )


def _known(view: View, named: Sequence[Named]) -> list[int]:
    """The ids that are named. One that is not known is passed over, unless it is the only one: then raises."""
    view.recall_named(",".join(str(each.id) for each in named))
    found: dict[int, None] = {}
    for each in named:
        theirs = ids_of(view, each)
        is_known = theirs is not None and not all(_is_forgotten(view, job_id) for job_id in theirs)
        if not is_known and len(named) == 1 and (theirs != [] or each.id not in view.families):
            raise UnknownJob
        found.update(dict.fromkeys(theirs or ()))
    return list(found)


def ids_of(view: View, named: Named) -> list[int] | None:
    """The ids that one word names, perhaps none of an array; None for an unknown job."""
    if not view.knows(named.id):
        return None
    if named.indices is None:
        return list(view.ids_of(named.id)) if named.id in view.families else [named.id]
    if named.id not in view.families:
        return None
    from gflowd.core.job import array_ids

    positions, _ = array_ids.select(view.families[named.id], named.indices)
    return [named.id + position for position in positions]


def _is_forgotten(view: View, job_id: int) -> bool:
    """Whether it ended so long ago that Slurm's controller would no longer know it."""
    if not view.has_ended(job_id):
        return False
    ended = jobs.ended_at(view.job(job_id))
    return ended is not None and ended < view.now - site.MIN_JOB_AGE


def rows(view: View, ids: Iterable[int], *, elements: bool = False) -> list[Row]:
    """The jobs, elements of an array that wait alike as one unless `elements` is set."""
    if elements or not view.families:
        return [Row(view.job(job_id)) for job_id in ids]
    from gflowctl.view import folding

    alone, groups = folding.gather(view, ids)
    return [
        *(Row(view.job(job_id)) for job_id in alone),
        *(Row(view.job(found[0]), sorted(found)) for _, found in groups),
    ]


def _fits(choice: Wanted, told: Facts, row: Row) -> bool:
    if choice.states is not None and row.state not in choice.states:
        return False
    if row.state in job_states.OVER:
        ended = jobs.ended_at(row.job)
        if ended is not None and ended < told.view.now - site.MIN_JOB_AGE:
            return False
    if choice.names is not None and told.name(row) not in choice.names:
        return False
    return choice.accounts is None or row.job.spec.project in choice.accounts
