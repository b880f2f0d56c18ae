"""Show and set quotas: how many jobs and GPUs a user or a project may have at once.

A job over a quota of running jobs or GPUs stays queued (reason Quota) until there is room. A job that is larger than
its own quota is refused; one that a later, smaller quota keeps out waits (reason Never:Quota). A submission that would
exceed a quota of queued jobs (held ones count too) is refused. A job must satisfy both the quota of its user and that
of its project.

Each of the three numbers comes from the first of these that gives it: the quota set here for the user or project
itself, gflow.toml for that user or project, the default set here, the default in gflow.toml. If none gives it, there is
no limit.
"""

from __future__ import annotations

import argparse

from gflowctl.machine import quotas
from gflowctl.output import render
from gflowctl.view import jobs, views
from gflowd import command_line
from gflowd.core.accounting.quotas import FIELDS, Quotas
from gflowd.core.errors import BadUsage, Refused
from gflowd.core.job.records import QUOTA, SPEC
from gflowd.core.request import validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflowctl.context import Context
    from gflowd.storage.record_log import Fold
    from gflowd.storage.store import Commit

DEFAULTS = ("default-user", "default-project")
NO_LIMIT = "none"
QUOTA_IN_FORCE = "print the quota that is now in force as a JSON object"
USED = ("running_jobs", "running_gpus", "queued_jobs")  # what `FIELDS` limit


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the actions."""
    command_line.add_actions(
        parser,
        {
            "list": ("show quotas and how much of them is used", command_line.add_json),
            "set": ("set numbers of a quota; those not given stay as they are", _configure_set),
            "remove": ("remove a quota set here, so that gflow.toml applies again", _configure_remove),
        },
    )


def _configure_set(parser: argparse.ArgumentParser) -> None:
    _add_owner(parser)
    for field, what in zip(FIELDS, ("jobs running", "GPUs in use", "jobs queued or held"), strict=True):
        parser.add_argument(
            f"--{field.replace('_', '-')}",
            type=_limit,
            default=argparse.SUPPRESS,
            metavar="N",
            help=f"at most this many {what}; none: no limit, whatever the default",
        )

    command_line.add_json(parser, QUOTA_IN_FORCE)


def _configure_remove(parser: argparse.ArgumentParser) -> None:
    _add_owner(parser)
    command_line.add_json(parser, QUOTA_IN_FORCE)


def _add_owner(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--user", metavar="USER", help="the quota of this user")
    group.add_argument("--project", metavar="CODE", help="the quota of this project, for all its users together")
    for name in DEFAULTS:
        said = f"the default quota of every {name.removeprefix('default-')}"
        group.add_argument(f"--{name}", dest="default", action="store_const", const=name, help=said)


def _limit(text: str) -> int | None:
    return None if text.lower() == NO_LIMIT else command_line.count(text)


def run(args: argparse.Namespace, context: Context) -> int:
    """Does what was asked for."""
    match args.action:
        case "list":
            _list(args, context)
        case "set":
            _set(args, context)
        case _:
            _remove(args, context)
    return 0


def _set(args: argparse.Namespace, context: Context) -> None:
    changes = {field: getattr(args, field) for field in FIELDS if hasattr(args, field)}
    if not changes:
        raise BadUsage(f"nothing to set: give --{', --'.join(FIELDS).replace('_', '-')} or several")
    owner = _owner(args)
    _check_known(owner, context)

    def decide(commit: Commit) -> tuple[Fold, Quotas, bool]:
        fold = commit.fold()
        before = Quotas(context.settings.get("quotas") or {}, dict(fold.of(QUOTA)))
        record = fold.of(QUOTA).get(owner, {})
        changed = {**record, **changes} != record
        if changed:
            record = fold.of(QUOTA)[owner] = {**record, **changes}
            commit.put(QUOTA, owner, record)
        return fold, before, changed

    fold, before, changed = context.change(decide)
    if changed:
        context.ring(b"w")
    said = _words(owner, quotas.in_force(context, fold))
    if args.json:
        render.write_json(_row(owner, quotas.in_force(context, fold), quotas.usage(fold)))
    elif changed:
        render.write(f"{said}\n")
    if changed:
        _tell_too_large(context, fold, before)
    else:
        render.note(f"nothing changes: {said}")


def _tell_too_large(context: Context, fold: Fold, before: Quotas) -> None:
    """Names the queued jobs that a quota now keeps out and did not before; they wait until it changes."""
    view, after = views.View(context, fold), quotas.in_force(context, fold)
    specs = {spec_id: view.job(spec_id).spec for spec_id in fold.of(SPEC)}
    small = {i for i, spec in specs.items() if after.too_large(spec) is not None and before.too_large(spec) is None}
    found = [job for i in sorted(small) for job in map(view.job, view.ids_of(i)) if jobs.is_waiting(job)]
    if found:
        one = len(found) == 1
        named = f"job{'' if one else 's'} {jobs.some_labels(found)}"
        asks = "it asks" if one else "they ask"
        render.note(f"note: {named} can never start as things stand: {asks} for more than the quota")


def _remove(args: argparse.Namespace, context: Context) -> None:
    owner = _owner(args)
    if owner not in context.store.read().of(QUOTA):
        raise Refused(f"nothing was set for {_who(owner)}; gflow.toml and the defaults apply (gflowctl quota list)")

    def decide(commit: Commit) -> Fold:
        fold = commit.fold()
        if fold.of(QUOTA).pop(owner, None) is not None:
            commit.put(QUOTA, owner, None)
        return fold

    fold = context.change(decide)
    context.ring(b"w")
    if args.json:
        render.write_json(_row(owner, quotas.in_force(context, fold), quotas.usage(fold)))
    else:
        render.write(f"{_words(owner, quotas.in_force(context, fold))}\n")


def _owner(args: argparse.Namespace) -> str:
    """The id of the quota that is meant."""
    if args.default is not None:
        return str(args.default)
    kind, name = ("user", args.user) if args.project is None else ("project", args.project)
    validation.check_text(name)
    if not name.strip():
        raise Refused(f"the name of the {kind} is empty")
    return f"{kind}:{name.strip()}"


def _check_known(owner: str, context: Context) -> None:
    """Refuses users that the machine does not know and that have no job, and projects that no job could use: a quota
    for a misspelt name would limit no job.
    """
    kind, _, name = owner.partition(":")
    if kind == "project":
        validation.project(name, context.limits.replace(require_project=False))
    elif kind == "user" and not _is_user(name) and owner not in quotas.usage(context.store.read(), [owner]):
        raise Refused(f"no user {name!r} on this machine")


def _is_user(name: str) -> bool:
    import pwd

    try:
        return pwd.getpwnam(name).pw_name == name
    except KeyError:
        return False


def _who(owner: str) -> str:
    return owner.replace(":", " ", 1).replace("default-", "default ")


def _words(owner: str, found: Quotas) -> str:
    """The quota in force for `owner`: `user ada: max-running-jobs 2, max-running-gpus none, max-queued-jobs 100`."""
    limits = found.of(owner).fields().items()
    said = (f"{field.replace('_', '-')} {NO_LIMIT if limit is None else limit}" for field, limit in limits)
    return f"{_who(owner)}: {', '.join(said)}"


def _list(args: argparse.Namespace, context: Context) -> None:
    fold = context.store.read()
    rows = _rows(quotas.in_force(context, fold), quotas.usage(fold))
    if args.json:
        render.write_json(rows)
        return
    titles = ("WHO", "RUNNING", "MAX", "GPUS", "MAX", "QUEUED", "MAX")
    columns = [render.Column(title, right=place > 0, flexible=place == 0) for place, title in enumerate(titles)]
    wide = render.terminal_columns() if render.is_terminal() else 0
    color = render.use_color(args.color)
    render.write(render.table(columns, [(row, _cells(row)) for row in rows], color=color, columns_wide=wide))


def _rows(found: Quotas, used: dict[str, quotas.Usage]) -> list[dict[str, Any]]:
    """The defaults that are set, then all users and all projects with a quota or a job."""
    named = {*found.ids(), *used}.difference(DEFAULTS)
    owners = [*(name for name in DEFAULTS if name in found.ids()), *sorted(named, key=_order)]
    return [_row(owner, found, used) for owner in owners]


def _row(owner: str, found: Quotas, used: dict[str, quotas.Usage]) -> dict[str, Any]:
    kind, _, name = owner.partition(":")
    counts = None if owner in DEFAULTS else used.get(owner, quotas.Usage())
    usage = {field: getattr(counts, field, None) for field in USED}
    return {"kind": kind, "name": name or None, **usage, **found.of(owner).fields()}


def _order(owner: str) -> tuple[bool, str]:
    kind, _, name = owner.partition(":")
    return kind == "project", name


def _cells(row: dict[str, Any]) -> list[str]:
    owner = row["kind"] if row["name"] is None else f"{row['kind']}:{row['name']}"
    numbers = (row[field] for pair in zip(USED, FIELDS, strict=True) for field in pair)
    return [_who(owner), *("-" if number is None else str(number) for number in numbers)]
