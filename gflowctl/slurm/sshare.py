"""Usage: sshare [-U] [-a] [-h|-n] [-p|-P] [-u USERS] [-A ACCOUNTS] [-o FIELD[%WIDTH],...] [-e] ...

The shares of users as gflow weighs them: each has the same share, and who used more of it lately waits longer. The
accounts are the projects that the configuration names; where it names none, the account is empty.
"""

from __future__ import annotations

from gflowctl.output import render
from gflowctl.slurm.report import choice, facts, table
from gflowctl.slurm.report.table import Field
from gflowd.core.job.records import USAGE
from gflowd.core.slurm import site
from gflowd.core.slurm.getopt import Grammar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gflowctl.context import Context

GRAMMAR = Grammar(
    "sshare",
    short={
        "A": "accounts", "a": "all", "e": "helpformat", "h": "noheader", "l": "long", "M": "clusters", "m": "partition",
        "n": "noheader", "o": "format", "p": "parsable", "P": "parsable2", "u": "users", "U": "Users", "v": "verbose",
    },
    flags=("all", "helpformat", "long", "noheader", "parsable", "parsable2", "partition", "Users", "verbose"),
    valued=("accounts", "clusters", "format", "users"),
    may_have_value=("json", "yaml"),
    aliases={"account": "accounts", "cluster": "clusters", "fields": "format", "uid": "users", "user": "users"},
)  # fmt: skip


class Share:
    """One line: a user, in an account if there are any."""

    __slots__ = ("account", "factor", "norm", "part", "usage", "user")

    def __init__(self, account: str, user: str, usage: float, total: float, users: int, factor: float) -> None:
        self.account = account
        self.user = user
        self.usage = usage
        self.norm = 1 / users
        self.part = usage / total if total else 0.0
        self.factor = factor


USUAL = "Account,User,RawShares,NormShares,RawUsage,EffectvUsage,FairShare"
LONG = "Account,User,RawShares,NormShares,RawUsage,NormUsage,EffectvUsage,FairShare,LevelFS,GrpTRESMins,TRESRunMins"
FIELDS: dict[str, Field] = {
    field.title: field
    for field in (
        Field("Account", 20, lambda each: each.account, left=True),
        Field("Cluster", 10, lambda _: site.CLUSTER),
        Field("EffectvUsage", 13, lambda each: f"{each.part:.6f}"),
        Field("FairShare", 10, lambda each: f"{each.factor:.6f}"),
        Field("GrpTRESMins", 30, lambda _: ""),
        Field("GrpTRESRaw", 30, lambda _: ""),
        Field("ID", 6, lambda each: facts.uid(each.user)),
        Field("LevelFS", 10, lambda each: f"{each.norm / each.part:.6f}" if each.part else "inf"),
        Field("NormShares", 11, lambda each: f"{each.norm:.6f}"),
        Field("NormUsage", 11, lambda each: f"{each.part:.6f}"),
        Field("Partition", 12, lambda _: ""),
        Field("RawShares", 10, lambda _: "1"),
        Field("RawUsage", 11, lambda each: f"{each.usage:.0f}"),
        Field("TRESRunMins", 30, lambda _: ""),
        Field("User", 10, lambda each: each.user),
    )
}


def run(words: Sequence[str], context: Context) -> int:
    """Prints the table."""
    pairs, _ = GRAMMAR.parse(words)
    options = dict(pairs)
    if "helpformat" in options:
        render.write(table.names(FIELDS))
        return 0
    choice.check_clusters(options.get("clusters"))
    columns = table.chosen(options.get("format") or (LONG if "long" in options else USUAL), FIELDS)
    cells = [[field.tell(share) for field in columns] for share in _shares(options, context)]
    render.write(table.text(columns, cells, table.style(options)))
    return 0


def _shares(options: Mapping[str, str | None], context: Context) -> Iterator[Share]:
    fold = context.store.read()
    used = {user: float(record["usage"]) for user, record in fold.of(USAGE).items()}
    everyone, total = {context.user, *used}, sum(used.values())
    wanted = choice.words(options.get("users"))
    names = {context.user} if "Users" in options else everyone if wanted is None else facts.users(wanted)[0]
    asked = choice.words(options.get("accounts"))
    accounts = [code for code in context.settings["known_projects"] if asked is None or code in asked]
    if "Users" not in options and not accounts:
        accounts = [""]
    for account in accounts:
        for user in sorted(names):
            factor = context.observed.line.share(user)
            yield Share(account, user, used.get(user, 0.0), total, len(everyone), factor)
