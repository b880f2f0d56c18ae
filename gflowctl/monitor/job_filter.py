"""Which jobs the screen lists and in which order, as typed: in the words of `gflowctl queue`, and any others."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowctl.output import columns, descriptions
from gflowctl.view import jobs
from gflowd import command_line
from gflowd.core.errors import BadUsage
from gflowd.core.job.model import ENDED_STATES

if TYPE_CHECKING:
    import argparse

    from gflowctl.monitor.screen_contents import Row

SORTED = "JOBID"


@dataclass(frozen=True, slots=True)
class Choice:
    """What a job must be to be listed; `text`: as it was typed; `words`: each is somewhere in what is shown of it."""

    text: str = ""
    states: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    projects: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()
    every: bool = False  # those that have ended, too
    completed: bool = False  # only those

    @property
    def wants_ended(self) -> bool:
        """Whether it is about jobs that ended long ago."""
        return self.every or self.completed or not self.states.isdisjoint(ENDED_STATES)

    def fits(self, row: Row) -> bool:
        """Whether the row is listed."""
        if not self.text:
            return True
        spec = row.job.spec
        return (
            (not self.states or row.state in self.states)
            and (not self.users or spec.user in self.users)
            and (not self.names or jobs.name(row.job) in self.names)
            and (not self.projects or spec.project in self.projects)
            and (not self.completed or row.state in ENDED_STATES)
            and all(word in row.searched for word in self.words)
        )


def configure(group: command_line.Options) -> None:
    """The options, for the command and for what is typed on the screen."""
    group.add_argument("-a", "--all", action="store_true", help="include jobs that ended longer ago")
    group.add_argument("-c", "--completed", action="store_true", help="only jobs that have ended")
    group.add_argument(
        "-s", "--states", type=command_line.words, metavar="STATE,...", help="jobs in these states, e.g. running or PD"
    )
    group.add_argument("-n", "--names", type=command_line.words, metavar="NAME,...", help="jobs with these names")
    group.add_argument("-P", "--project", type=command_line.words, metavar="CODE,...", help="jobs of these projects")
    group.add_argument("-u", "--user", type=command_line.words, metavar="USER,...", help="jobs of these users")
    group.add_argument("--me", action="store_true", help="your jobs")


def parse(text: str, user: str) -> Choice:
    """The choice that is typed; `user`: whom --me means. Raises `BadUsage`."""
    try:
        words = shlex.split(text)
    except ValueError:
        raise BadUsage("a quotation mark is not closed") from None
    parser = command_line.Parser(prog="filter", add_help=False)
    configure(parser)
    try:
        found, others = parser.parse_known_args(words)
    except BadUsage as error:
        raise BadUsage(str(error).removesuffix(" (see filter --help)")) from None
    others = [word for word in others if word != "--"]
    if stray := next((word for word in others if word.startswith("-")), None):
        raise BadUsage(f"unknown option {stray}; there are -s, -u, -n, -P, --me, -a and -c")
    return of(found, others, user, text)


def of(args: argparse.Namespace, words: list[str], user: str, text: str | None = None) -> Choice:
    """The choice that options and other words make. Raises `BadUsage`."""
    users = {*(args.user or ()), *([user] if args.me else ())}
    return Choice(
        text=shlex.join(written(args, words)) if text is None else text.strip(),
        states=frozenset(descriptions.states(args.states)),
        users=frozenset(users),
        names=frozenset(args.names or ()),
        projects=frozenset(args.project or ()),
        words=tuple(word.lower() for word in words),
        every=args.all,
        completed=args.completed,
    )


def written(args: argparse.Namespace, words: list[str]) -> list[str]:
    """Options as one would type them on the screen."""
    flags = (("-a", args.all), ("-c", args.completed), ("--me", args.me))
    lists = (("-s", args.states), ("-u", args.user), ("-n", args.names), ("-P", args.project))
    found = [flag for flag, given in flags if given]
    for option, given in lists:
        found += [option, ",".join(given)] if given else []
    return [*found, *words]


def sorting(text: str) -> str:
    """`FIELD[,-FIELD]` in capitals, of fields that exist. Raises `BadUsage`."""
    found = [word.strip().upper() for word in text.split(",") if word.strip()]
    columns.chosen(",".join(word.removeprefix("-") for word in found))
    return ",".join(found)
