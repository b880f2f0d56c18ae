"""How gflowctl reads its command line: a parser whose errors are one line, and the types of option values."""

from __future__ import annotations

import os
import sys

from gflowctl.output import render
from gflowd.core.errors import BadUsage, Refused


class _English:
    """Stands for gettext, which argparse asks for each of its words: its import and its search of the disk are dear."""

    gettext = str

    @staticmethod
    def ngettext(one: str, several: str, number: int) -> str:
        return one if number == 1 else several


if "argparse" not in sys.modules and "gettext" not in sys.modules:
    sys.modules["gettext"] = _English  # type: ignore[assignment]
    import argparse

    del sys.modules["gettext"]
else:
    import argparse

    argparse._ = str  # type: ignore[attr-defined]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NoReturn

    Options = argparse.ArgumentParser | argparse._ArgumentGroup  # noqa: SLF001 -- it has no public name

LARGEST_COUNT = 1_000_000
LARGEST_PID = 1 << 22  # PID_MAX_LIMIT of proc(5)
LARGEST_PRIORITY = 255
NARROWEST = 60  # columns
WIDEST = 100


class Formatter(argparse.HelpFormatter):
    """Keeps paragraphs apart and paths whole. Knows its width: argparse would import shutil at every option for it."""

    def __init__(self, prog: str, **settings: Any) -> None:
        settings.setdefault("width", _columns())
        super().__init__(prog, **settings)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        from textwrap import fill

        return "\n\n".join(
            fill(part, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
            for part in text.split("\n\n")
        )


class Parser(argparse.ArgumentParser):
    """Raises `BadUsage` instead of printing the usage. `dashed` names options whose value may begin with a dash."""

    dashed: tuple[str, ...] = ()
    words: Sequence[str] = ()  # what `parse_args` was last given

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"formatter_class": Formatter, "allow_abbrev": False, **settings})

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse; joins each of `dashed` to its value first."""
        words: list[str] = []
        for word in args or ():
            if words and words[-1] in self.dashed:
                words[-1] += f"={word}"
            else:
                words.append(word)
        self.words = words
        return super().parse_args(words, namespace)

    @property
    def actions(self) -> Sequence[argparse.Action]:
        """Its options and positional arguments."""
        return self._actions

    def given(self, words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
        """The values of the options that `words` give, none of them a default, and the words that are no option."""
        unset = dict.fromkeys([*(action.dest for action in self._actions), *self._defaults])
        found, stray = self.parse_known_args(words, argparse.Namespace(**unset))
        return {name: value for name, value in vars(found).items() if value not in (None, [])}, stray

    def _print_message(self, message: str, file: object = None) -> None:  # noqa: ARG002 -- it is always stdout
        render.write(message)

    def error(self, message: str) -> NoReturn:
        raise BadUsage(f"{message.removeprefix('argument ')} (see {self.prog} --help)")


_columns_known: list[int] = []


def _columns() -> int:
    if not _columns_known:
        try:
            columns = os.get_terminal_size(1).columns
        except OSError:
            columns = 80
        _columns_known.append(min(max(columns, NARROWEST), WIDEST) - 2)
    return _columns_known[0]


def new_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """A parser without options but `--help`."""
    return Parser(prog=prog, description=description.strip())


def add_actions(
    parser: argparse.ArgumentParser, table: Mapping[str, tuple[str, Callable[[argparse.ArgumentParser], None]]]
) -> None:
    """The actions of a command, `args.action`: by name, a summary and what names its options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, prog=parser.prog)
    for name, (summary, configure) in table.items():
        configure(actions.add_parser(name, help=summary, description=f"{summary[:1].upper()}{summary[1:]}."))


def add_globals(parser: argparse.ArgumentParser, **how: Any) -> None:
    """The options that every command takes, and each of its actions."""
    from gflowd import __version__

    group = parser.add_argument_group("common options")
    group.add_argument("--config", metavar="FILE", help="the configuration file", **how)
    group.add_argument("--state-dir", metavar="DIR", help="where gflow keeps its state", **how)
    group.add_argument("--version", action="version", version=f"gflowctl {__version__}")
    for nested in actions_of(parser).values():
        add_globals(nested, default=argparse.SUPPRESS)  # what was said before the action stays said


def actions_of(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """The parsers of a command's actions by name; none where it has no actions."""
    for action in parser._actions:  # noqa: SLF001 -- argparse shows its actions no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 -- it has no public name
            return action.choices
    return {}


def split_globals(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options before the command's name, and all that follows them."""
    nothing = argparse.Namespace(config=None, state_dir=None, help=False)
    if not argv or not argv[0].startswith("-"):
        return nothing, list(argv)
    parser = Parser(prog="gflowctl", add_help=False)
    add_globals(parser)
    parser.add_argument("-h", "--help", action="store_true")
    place = 0
    while place < len(argv) and argv[place].startswith("-"):
        place += 2 if argv[place] in ("--config", "--state-dir") else 1
    return parser.parse_args(argv[:place]), list(argv[place:])


def add_json(parser: Options, what: str = "print one JSON document") -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help=what)


def add_color(parser: Options) -> None:
    """`--color`."""
    choices = ("never", "auto", "always")
    parser.add_argument("--color", choices=choices, default="auto", help="when to use colour (auto: on a terminal)")


def add_jobs(parser: argparse.ArgumentParser, nargs: str = "+") -> None:
    """The JOBS argument."""
    parser.add_argument(
        "jobs",
        nargs=nargs,
        metavar="JOBS",
        help="job ids, e.g. 42 or 1,3,5-7; @ is your last submission, @~2 the one two before it; 42_3 and 42_[1-5] "
        "are elements of array 42",
    )


def add_job(parser: argparse.ArgumentParser) -> None:
    """The JOB argument."""
    parser.add_argument(
        "job",
        metavar="JOB",
        help="a job id; @ is your last submission, @~2 the one two before it; 42_3 is an element of array 42",
    )


def duration(text: str) -> float:
    """A type for argparse: seconds."""
    from gflowd.core.syntax import durations

    try:
        return durations.parse(text)
    except Refused as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def amount(text: str) -> int:
    """A type for argparse: MiB."""
    from gflowd.core.syntax import memory

    try:
        return memory.parse(text)
    except Refused as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def count(text: str, largest: int = LARGEST_COUNT) -> int:
    """A type for argparse: a whole number from 0."""
    if text.isascii() and text.isdigit() and len(text) <= len(str(largest)) and int(text) <= largest:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {largest}")


def pid(text: str) -> int:
    """A type for argparse: the number of a process."""
    return count(text, LARGEST_PID)


def gpu_count(text: str) -> int:
    """A type for argparse: `2`, or Slurm's `gpu:2` and `gpu`."""
    if text == "gpu":
        return 1
    number = text.removeprefix("gpu:")
    if ":" in number:
        raise argparse.ArgumentTypeError(f"{text!r}: a type of GPU is given with --gpu-type")
    return count(number)


def priority(text: str) -> int:
    """A type for argparse: 0 to 255."""
    if text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST_PRIORITY)) and int(text) <= LARGEST_PRIORITY:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a priority (0 to {LARGEST_PRIORITY}, higher first)")


def interval(text: str) -> float:
    """A type for argparse: seconds between two looks; a bare number is seconds."""
    from gflowd.core.syntax import durations

    try:
        seconds = float(text) if text.replace(".", "", 1).isdigit() else durations.parse(text)
    except (Refused, ValueError):
        seconds = 0.0
    if not 0.1 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not an interval of 0.1 s to a day")
    return seconds


def words(text: str) -> list[str]:
    """A type for argparse: a comma-separated list."""
    return [word.strip() for word in text.split(",") if word.strip()]
