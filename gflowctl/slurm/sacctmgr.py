"""Usage: sacctmgr [-n] [-s] [-p|-P] show|list ENTITY [NAME=VALUE ...] [format=FIELD[%WIDTH],...] ...

What gflow knows of users, accounts, associations, qos, clusters and tres. Its accounts are the projects that the
configuration names; where it names none, any may be used and there is no association. Changes are refused: projects are
named in gflow.toml, and limits are set by gflowctl quota.
"""

from __future__ import annotations

import pwd
import sys

from gflowctl.output import render
from gflowctl.slurm.report import table
from gflowctl.slurm.report.table import Field
from gflowd.core.errors import Refused
from gflowd.core.slurm import site
from gflowd.core.slurm.getopt import Grammar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gflowctl.context import Context
    from gflowd.core.accounting.quotas import Quota

    Cells = Mapping[str, str]

GRAMMAR = Grammar(
    "sacctmgr",
    short={
        "i": "immediate", "n": "noheader", "o": "oneliner", "p": "parsable", "P": "parsable2", "Q": "quiet",
        "r": "readonly", "s": "associations", "v": "verbose",
    },
    flags=("associations", "immediate", "noheader", "oneliner", "parsable", "parsable2", "quiet", "readonly",
           "verbose"),
    may_have_value=("json", "yaml"),
)  # fmt: skip
SHOW = ("show", "list")
CHANGES = ("add", "archive", "clear", "create", "delete", "dump", "load", "modify", "reconfigure", "remove", "shutdown",
           "update")  # fmt: skip
WITH_ASSOCIATIONS = "withassoc"
_WIDTHS = {
    "Account": 10, "Admin": 9, "Cluster": 10, "ControlHost": 15, "ControlPort": 12, "Coord Accounts": 20,
    "Def Acct": 10, "Def QOS": 9, "Descr": 20, "GraceTime": 10, "GrpJobs": 7, "GrpTRES": 13, "GrpSubmit": 9, "ID": 6,
    "MaxJobs": 7, "MaxSubmit": 9, "MaxTRES": 13, "MaxTRESPU": 13, "MaxWall": 11, "Name": 10, "Org": 20, "Partition": 10,
    "ParentName": 10, "Preempt": 10, "PreemptMode": 11, "Priority": 10, "QOS": 20, "RPC": 5, "Share": 9, "Type": 8,
    "UsageFactor": 11, "User": 10,
}  # fmt: skip
_CALLED = {  # the names of fields that are not their titles, for --format
    "AdminLevel": "Admin", "Coordinators": "Coord Accounts", "DefaultAccount": "Def Acct", "DefaultQOS": "Def QOS",
    "Description": "Descr", "Fairshare": "Share", "MaxSubmitJobs": "MaxSubmit", "Names": "Name", "Organization": "Org",
}  # fmt: skip


def _fields() -> dict[str, Field]:
    named = {**{title: title for title in _WIDTHS}, **_CALLED}
    return {name: Field(title, _WIDTHS[title], _of(title)) for name, title in sorted(named.items())}


def _of(title: str) -> Callable[[Cells], str]:
    return lambda cells: cells.get(title, "")


FIELDS = _fields()
ASSOCIATION = "Cluster,Account,User,Partition,Share,Priority,MaxJobs,GrpTRES,MaxSubmit,MaxWall,QOS,Def QOS"

CLUSTER = (
    "Cluster,ControlHost,ControlPort,RPC,Share,GrpJobs,GrpTRES,GrpSubmit,MaxJobs,MaxTRES,MaxSubmit,MaxWall,QOS,Def QOS"
)
QOS = "Name,Priority,GraceTime,Preempt,PreemptMode,UsageFactor,GrpTRES,GrpJobs,GrpSubmit,MaxTRES,MaxWall,MaxTRESPU"


def run(words: Sequence[str], context: Context) -> int:
    """Prints what is asked for."""
    pairs, operands = GRAMMAR.parse(words)
    options = dict(pairs)
    verb, rest = operands[0].lower() if operands else "", operands[1:]
    if verb and any(change.startswith(verb) for change in CHANGES) and not any(v.startswith(verb) for v in SHOW):
        raise Refused("gflow has no accounts to change: projects are named in gflow.toml, limits set by gflowctl quota")
    if not verb or not any(each.startswith(verb) for each in SHOW):
        raise Refused(f"no command {verb!r}; gflow has show and list")
    if not rest:
        return _wrong_entity()
    if (name := next((each for each in ENTITIES if each.startswith(rest[0].lower().removesuffix("s"))), None)) is None:
        return _wrong_entity()
    given = _conditions(rest[1:], options)
    usual, rows = ENTITIES[name]
    asked = given.get("format", [])
    with_associations = WITH_ASSOCIATIONS in given
    text = ",".join(asked) or (f"{usual},{ASSOCIATION}" if with_associations else usual)
    try:
        columns = table.chosen(text, FIELDS)
    except Refused as error:
        sys.stderr.write(f"Unknown field {str(error).partition(': ')[2].strip(chr(34))!r}\n")
        return 1
    cells = [[field.tell(row) for field in columns] for row in rows(context, given)]
    render.write(table.text(columns, cells, table.style(options)))
    return 0


def _wrong_entity() -> int:
    names = ", ".join(f'"{name.capitalize()}"' for name in ENTITIES)
    sys.stderr.write(f"No valid entity in list command\nInput line must include {names}\n")
    return 1


def _conditions(words: Sequence[str], options: Mapping[str, str | None]) -> dict[str, list[str]]:
    """`name=a,b`, a bare name, `withassoc`: lists by what they are of."""
    found: dict[str, list[str]] = {WITH_ASSOCIATIONS: []} if "associations" in options else {}
    for word in words:
        key, equals, value = word.partition("=")
        key = key.lower()
        if not equals:
            if key == "where":
                continue
            key, value = (key, "") if key.startswith(("with", "wo", "tree")) else ("name", word)
        key = {"names": "name", "users": "user", "accounts": "account", "clusters": "cluster"}.get(key, key)
        found.setdefault(key, []).extend(each.strip("\"'") for each in value.split(",") if each)
    return found


def _is_asked(given: Mapping[str, Sequence[str]], value: str, *keys: str) -> bool:
    lists = [given[key] for key in keys if given.get(key)]
    return all(value.lower() in (each.lower() for each in words) for words in lists)


def _accounts(context: Context, given: Mapping[str, Sequence[str]]) -> Iterator[Cells]:
    for code in context.settings["known_projects"]:
        if _is_asked(given, code, "name", "account"):
            row = {"Account": code, "Descr": code, "Org": site.CLUSTER}
            if WITH_ASSOCIATIONS not in given:
                yield row
            else:
                yield from ({**row, **each} for each in _associations(context, {"account": [code]}))


def _names(context: Context) -> list[str]:
    """Users of gflow: ourselves and those with jobs."""
    from gflowd.core.job.records import SPEC

    return sorted({context.user, *(raw["user"] for raw in context.store.read().of(SPEC).values())})


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _users(context: Context, given: Mapping[str, Sequence[str]]) -> Iterator[Cells]:
    names = given.get("name") or given.get("user")
    for user in _names(context) if not names else filter(_is_user, names):
        row = {"User": user, "Admin": "None"}
        if WITH_ASSOCIATIONS not in given:
            yield row
        else:
            conditions = {**given, "user": [user], "name": []}
            yield from ({**row, **each} for each in _associations(context, conditions) if each["User"])


def _associations(context: Context, given: Mapping[str, Sequence[str]]) -> Iterator[Cells]:
    """Each configured project, and each user in it: anybody may use any."""
    from gflowctl.machine import quotas

    limits = quotas.in_force(context, context.store.read())
    if not _is_asked(given, site.CLUSTER, "cluster"):
        return
    users = [user for user in given.get("user") or _names(context) if _is_user(user)]
    for code in context.settings["known_projects"]:
        if not _is_asked(given, code, "account"):
            continue
        row = {"Cluster": site.CLUSTER, "Account": code, "Share": "1", "QOS": site.QOS}
        if not given.get("user"):
            yield {**row, "User": "", **_limits(limits.of(f"project:{code}"))}
        for user in users:
            yield {**row, "User": user, **_limits(limits.of(f"user:{user}"))}


def _limits(quota: Quota) -> Cells:
    found = {"MaxJobs": quota.max_running_jobs, "MaxSubmit": quota.max_queued_jobs}
    cells = {title: str(number) for title, number in found.items() if number is not None}
    if quota.max_running_gpus is not None:
        cells["GrpTRES"] = f"gres/gpu={quota.max_running_gpus}"
    return cells


def _clusters(_context: Context, given: Mapping[str, Sequence[str]]) -> Iterator[Cells]:
    import os

    if _is_asked(given, site.CLUSTER, "name", "cluster"):
        host = site.node(os.uname().nodename)
        yield {"Cluster": site.CLUSTER, "ControlHost": host, "ControlPort": "0", "Share": "1", "QOS": site.QOS}


def _qos(_context: Context, given: Mapping[str, Sequence[str]]) -> Iterator[Cells]:
    if _is_asked(given, site.QOS, "name"):
        yield {"Name": site.QOS, "Priority": "0", "GraceTime": "00:00:00", "PreemptMode": "cluster",
               "UsageFactor": "1.000000"}  # fmt: skip


def _tres(_context: Context, _given: Mapping[str, Sequence[str]]) -> Iterator[Cells]:
    plain = ("cpu", "mem", "energy", "node", "billing")
    yield from ({"Type": name, "ID": str(number)} for number, name in enumerate(plain, 1))
    yield {"Type": "gres", "Name": "gpu", "ID": "1001"}


ENTITIES: dict[str, tuple[str, Callable[[Context, Mapping[str, Sequence[str]]], Iterator[Cells]]]] = {
    "account": ("Account,Descr,Org", _accounts),
    "association": (ASSOCIATION, _associations),
    "cluster": (CLUSTER, _clusters),
    "qos": (QOS, _qos),
    "tres": ("Type,Name,ID", _tres),
    "user": ("User,Def Acct,Admin", _users),
}
