"""The command lines of both programs: a parser whose errors are one line with a suggestion, the options
that every command takes, and the types of option values. Knows no command.
"""

from __future__ import annotations

import os
import sys

from gflowd.core.errors import BadUsage, Refused, meant


class _English:
    """Replaces gettext, which argparse calls for each of its messages: its import and its disk search are expensive."""

    gettext = str

    @staticmethod
    def ngettext(one: str, several: str, number: int) -> str:
        return one if number == 1 else several


if "argparse" not in sys.modules and "gettext" not in sys.modules:
    sys.modules["gettext"] = _English  # type: ignore[assignment]
    import argparse

    del sys.modules["gettext"]
else:  # a program that has it already may speak another language
    import argparse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NoReturn

    Options = argparse.ArgumentParser | argparse._ArgumentGroup  # noqa: SLF001 -- it has no public name

HELP = "help"
COLORS = ("never", "auto", "always")
READS, SHOWS, BOTH = "read times", "show times", "read and show times"
LARGEST_COUNT = 1_000_000
NARROWEST = 60  # columns
WIDEST = 100


class _NoColours:
    """Any colour that argparse asks for: none."""

    def __getattr__(self, name: str) -> str:
        return ""


class Formatter(argparse.HelpFormatter):
    """Keeps paragraphs and paths intact. Knows its width, for which argparse would import shutil at every option, and
    its colours, none, for which it would import dataclasses and inspect (Python 3.14 and later).
    """

    def __init__(self, prog: str, **settings: Any) -> None:
        settings.setdefault("width", _columns())
        super().__init__(prog, **settings)

    def _set_color(self, *_: object, **__: object) -> None:
        self._theme = _NoColours()
        self._decolor = str

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        from textwrap import fill

        return "\n\n".join(
            fill(part, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
            for part in text.split("\n\n")
        )


class Parser(argparse.ArgumentParser):
    """Raises `BadUsage` instead of printing the usage; the help goes to `write`, by default to stdout.

    `dashed` names options whose value may begin with a dash.
    """

    dashed: tuple[str, ...] = ()
    words: Sequence[str] = ()  # what it was last given to parse

    def __init__(self, *, write: Callable[[str], object] | None = None, **settings: Any) -> None:
        super().__init__(**{"formatter_class": Formatter, "allow_abbrev": False, **settings})
        self.write = write or _to_stdout

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse; joins each of `dashed` to its value first."""
        words: list[str] = []
        for word in args or ():
            if words and words[-1] in self.dashed:
                words[-1] += f"={word}"
            else:
                words.append(word)
        found, stray = self.parse_known_args(words, namespace)
        if stray:
            self.error(f"unrecognized arguments: {' '.join(stray)}{self.meant(stray)}")
        return found

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse; remembers the words, so that an error can suggest what was meant."""
        self.words = args or ()
        return super().parse_known_args(args, namespace)

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """As argparse, which takes the value of `--name=--` for the end of the options and hands on a list."""
        if action.option_strings and action.nargs is None:
            value = self._get_value(action, arg_strings[0])
            self._check_value(action, value)
            return value
        return super()._get_values(action, arg_strings)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(each) for each in action.choices]
            said = f"invalid choice: {value!r} (choose from {', '.join(known)}){meant(str(value), known)}"
            raise argparse.ArgumentError(action, said)

    def meant(self, stray: Sequence[str], without: Sequence[str] = ()) -> str:
        """A suggestion for the first unknown option, none of `without`; a word that is not an option may have meant
        anything.
        """
        word = next((word.partition("=")[0] for word in stray if word.startswith("--")), "")
        return meant(word[2:], (name[2:] for name in self._names().difference(without)), "--") if word else ""

    def _names(self) -> set[str]:
        """The long options, of all its actions."""
        parsers = (self, *actions_of(self).values())
        known = (name for each in parsers for action in each._actions for name in action.option_strings)  # noqa: SLF001
        return {name for name in known if name.startswith("--")}

    def _slip(self, message: str) -> str:
        """The message, with the slip that is behind it: an unknown option, or a long one with a single dash."""
        known, given = self._names(), [word.partition("=")[0] for word in self.words]
        given = given[: given.index("--")] if "--" in given else given
        if " required: " in message:
            stray = [word for word in given if word.startswith("--") and word not in known]
            return f"unrecognized arguments: {stray[0]}{self.meant(stray)}" if stray else message
        about = message.partition(":")[0].split("/")
        short = next((word for word in given if word[:2] in about and f"-{word}" in known), None)
        return message if short is None else f"{message} (did you mean -{short}?)"

    @property
    def actions(self) -> Sequence[argparse.Action]:
        """Its options and positional arguments."""
        return self._actions

    def given(self, words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
        """The values of the options in `words`, without defaults, and the words that are not options."""
        unset = dict.fromkeys([*(action.dest for action in self._actions), *self._defaults])
        found, stray = self.parse_known_args(words, argparse.Namespace(**unset))
        return {name: value for name, value in vars(found).items() if value not in (None, [])}, stray

    def _print_message(self, message: str, file: object = None) -> None:  # noqa: ARG002 -- it is always the same
        self.write(message)

    def error(self, message: str) -> NoReturn:
        raise BadUsage(f"{self._slip(message.removeprefix('argument '))} (see {self.prog} --help)")


_columns_known: list[int] = []


def _columns() -> int:
    if not _columns_known:
        try:
            columns = os.get_terminal_size(1).columns
        except OSError:
            columns = 80
        _columns_known.append(min(max(columns, NARROWEST), WIDEST) - 2)
    return _columns_known[0]


def _to_stdout(text: str) -> None:
    sys.stdout.write(text)


def add_actions(
    parser: argparse.ArgumentParser, table: Mapping[str, tuple[str, Callable[[argparse.ArgumentParser], None]]]
) -> None:
    """The actions of a command (`args.action`): by name, a summary and the function that adds its options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, prog=parser.prog)
    for name, (summary, configure) in table.items():
        nested = actions.add_parser(name, help=summary, description=f"{summary[:1].upper()}{summary[1:]}.")
        if isinstance(nested, Parser) and isinstance(parser, Parser):
            nested.write = parser.write
        configure(nested)


def add_globals(parser: argparse.ArgumentParser, **how: Any) -> None:
    """The options that every command takes, and each of its actions."""
    from gflowd import __version__

    group = parser.add_argument_group("common options")
    group.add_argument("--config", metavar="FILE", help="the configuration file", **how)
    group.add_argument("--state-dir", metavar="DIR", help="where gflow keeps its state", **how)
    if parser.prog.startswith("gflowctl"):
        said = "whose gflowd: your own, or that of all users (default system, if there is one)"
        group.add_argument("--daemon", choices=("user", "system"), help=said, **how)
    group.add_argument("--color", choices=COLORS, help="when to use colour (default auto: on a terminal)", **how)
    group.add_argument("--version", action="version", version=f"{parser.prog.partition(' ')[0]} {__version__}")
    for nested in actions_of(parser).values():
        add_globals(nested, default=argparse.SUPPRESS)  # keep what was given before the action


def actions_of(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """The parsers of a command's actions by name; none if it has no actions."""
    for action in parser._actions:  # noqa: SLF001 -- argparse shows its actions no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 -- it has no public name
            return action.choices
    return {}


def split_globals(
    program: str, argv: Sequence[str], write: Callable[[str], object] | None = None
) -> tuple[argparse.Namespace, list[str]]:
    """The options before the command's name, and all that follows them."""
    nothing = argparse.Namespace(config=None, state_dir=None, daemon=None, color=None, help=False)
    if not argv or not argv[0].startswith("-"):
        return nothing, list(argv)
    parser = Parser(prog=program, add_help=False, write=write)
    add_globals(parser)
    parser.add_argument("-h", "--help", action="store_true")
    place = 0
    while place < len(argv) and argv[place].startswith("-"):
        place += 2 if argv[place] in ("--config", "--state-dir", "--daemon", "--color") else 1
    return parser.parse_args(argv[:place]), list(argv[place:])


def full_name(program: str, word: str, commands: Mapping[str, tuple[str, tuple[str, ...], str]]) -> str:
    """The command that `word` names, possibly by an alias. Raises `BadUsage`."""
    for name, (_, aliases, _) in commands.items():
        if word == name or word in aliases:
            return name
    raise BadUsage(f"no command {word!r}{meant(word, commands)}; {program} --help lists them")


def help_words(parser: Parser, words: Sequence[str]) -> list[str]:
    """What to parse to show the help of a command, or of the action that `words` name."""
    return [*(words[:1] if actions_of(parser) else ()), "--help"]


def add_json(parser: Options, what: str = "print one JSON document") -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help=what)


def add_timezone(parser: Options, what: str) -> None:
    """`--timezone`, for a command that does `what` (READS, SHOWS, BOTH) with times."""
    parser.add_argument("--timezone", type=_zone, metavar="ZONE", help=f"{what} in this time zone, e.g. Europe/Vienna")


def _zone(text: str) -> str:
    """A type for argparse: the name of a time zone."""
    from gflowd.core.syntax import instants

    try:
        return instants.named(text).key
    except Refused as error:
        raise argparse.ArgumentTypeError(str(error)) from None


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


def interval(text: str) -> float:
    """A type for argparse: seconds between two polls; a bare number is seconds."""
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


def unexpected(error: Exception, unnamed: str = "") -> str:
    """The line that tells of an error nobody foresaw; with GFLOW_DEBUG its traceback is on stderr before. `unnamed` is
    the place of one that names no file.
    """
    if os.environ.get("GFLOW_DEBUG"):
        import traceback

        traceback.print_exc()
    if isinstance(error, OSError) and error.strerror:
        place = error.filename or unnamed
        return f"{place}: {error.strerror}" if place else error.strerror
    if isinstance(error, ImportError):
        return f"{error} ({sys.executable}); gflowctl doctor checks the installation"
    return f"internal error: {type(error).__name__}: {error} (GFLOW_DEBUG=1 shows where)"
