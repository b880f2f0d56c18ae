#!/usr/bin/env python3
"""Writes the man pages and the completion scripts from the parsers of both programs; `--check` only compares.

A page per program and per command comes from the tables COMMANDS. What a parser cannot say (examples, exit status)
stands in `NAME.inc` beside this file, in the form of argparse-manpage's --include. Pages without a parser (gflow.7,
gflow.toml.5) are written by hand, only their first line is kept in step here.
"""

from __future__ import annotations

import argparse
import functools
import os
import re
import sys
import textwrap
from typing import NamedTuple

import shtab
from argparse_manpage.manpage import Manpage

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.environ["PYTHON_COLORS"] = "0"  # argparse's own, since Python 3.14: the pages would have them
sys.path.insert(0, ROOT)

import gflowctl.main  # noqa: E402 -- the tree that we stand in, installed or not
import gflowd.command_line  # noqa: E402
import gflowd.main  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

HAND_WRITTEN = (("gflow", "7"), ("gflow-slurm", "7"), ("gflow.toml", "5"))
BROKEN_EARLY = 90  # characters: in a source of 120, a line shorter than this was meant to end there
SHELLS = ("bash", "zsh", "fish")
MANUAL = "gflow Manual"
ITALIC = r"\\fI\1\\fR"
SHARED = ("--config", "--state-dir", "--daemon", "--version")
JOBS_OF = {
    "attach": "jobs-running", "cancel": "jobs-live", "close-sessions": "jobs-ended", "edit": "jobs-live",
    "hold": "jobs-queued", "release": "jobs-held", "suspend": "jobs-running", "top": "jobs-queued",
    "unsuspend": "jobs-running", "update": "jobs-live", "wait": "jobs-live",
}  # fmt: skip
CANDIDATES = {  # what `gflowctl __complete` is asked for, by the option or by the command and its argument
    "--clear": "options", "--cluster": "clusters", "info cluster": "cluster-names", "doctor cluster": "cluster-names",
    "--depends-on": "jobs", "--depends-on-all": "jobs", "--depends-on-any": "jobs",
    "--format": "fields", "--gpu": "gpus", "--gpu-list": "gpus", "--gpu-type": "gpu-types", "--notify-on": "events",
    "--kind": "event-kinds",
    "--project": "projects", "--retry-on": "causes", "--sort": "fields", "--state": "states", "--states": "states",
    "--user": "users",
    "gpus gpu": "gpus", "gpus gpus": "gpus", "reserve id": "reservations", "limit group": "jobs-live",
    "config names": "settings",
}  # fmt: skip
# How a shell asks for the candidates of a kind ($1) for the word so far ($2).
ASKED_FROM = {
    "bash": """\
_gflowctl_candidates() {
  "${COMP_WORDS[0]/#\\~/$HOME}" __complete bash "$1" "$2" "${COMP_WORDS[@]}" 2>/dev/null
}
""",
    "zsh": """\
_gflowctl_candidates() {
  local -a lines names shown
  lines=("${(@f)$(gflowctl __complete zsh "$1" "$PREFIX" "${(@Q)${(z)LBUFFER}}" 2>/dev/null)}")
  lines=("${(@)lines:#}")
  (( $#lines )) || return 1
  names=("${(@)lines%%$'\\t'*}")
  shown=("${(@)lines/$'\\t'/  -- }")
  compadd -V gflowctl -d shown -a names
}
""",
    "fish": """\
function _gflowctl_candidates
    gflowctl __complete fish $argv[1] (commandline -ct) (commandline -opc) 2>/dev/null
end
""",
}
COMPLETED_BY = {"FILE": shtab.FILE, "SCRIPT": shtab.FILE, "COMMAND": shtab.FILE, "DIR": shtab.DIRECTORY}


class Program(NamedTuple):
    """One of the two: its table of commands, and what its own page says first."""

    name: str
    section: str
    summary: str
    description: str
    commands: Mapping[str, tuple[str, tuple[str, ...], str]]
    parser: Callable[[str], argparse.ArgumentParser]
    add_globals: Callable[[argparse.ArgumentParser], None]


PROGRAMS = (
    Program(
        "gflowctl",
        "1",
        "queue jobs and see their results",
        "Queue commands, show and change jobs, and print their output.\n\n"
        "It works on files in the state directory: while `gflowd` is down, everything works except running jobs.",
        gflowctl.main.COMMANDS,
        gflowctl.main.parser,
        gflowd.command_line.add_globals,
    ),
    Program(
        "gflowd",
        "8",
        "run queued jobs when their GPUs, CPUs and memory are free",
        "Start the jobs that `gflowctl submit` queued, watch them, and record how they ended.\n\n"
        "Running jobs do not depend on it: it can be stopped, restarted and upgraded at any time.",
        gflowd.main.COMMANDS,
        gflowd.main.parser,
        gflowd.command_line.add_globals,
    ),
)


def released() -> str:
    """The date of the newest release in the CHANGELOG, so that pages do not change with the day they are made."""
    with open(os.path.join(ROOT, "CHANGELOG.md"), encoding="utf-8") as file:
        found = re.search(r"^## \[[\d.]+\] - (\d{4}-\d\d-\d\d)$", file.read(), re.MULTILINE)
    if found is None:
        sys.exit("generate.py: no dated release in CHANGELOG.md")
    return found[1]


def title_line(name: str, section: str) -> str:
    return f'.TH {name.upper()} {section} {released()} "gflow {gflowd.__version__}" "{MANUAL}"'


def escaped(text: str) -> str:
    """`text` so that roff shows it as it is; `code` becomes bold."""
    for char, name in (("\\", "\\e"), ("-", "\\-"), ("~", "\\(ti"), ("^", "\\(ha"), ("'", "\\(aq"), ('"', "\\(dq")):
        text = text.replace(char, name)
    text = re.sub(r"`([^`\n]+)`", r"\\fB\1\\fR", text).replace("`", "\\(ga")
    return text.encode("ascii", "replace").decode()


def roff(text: str) -> str:
    """Paragraphs of help as roff: blank lines part them; indented lines, and lines broken early, stay as they are."""
    parts = []
    for block in re.split(r"\n\s*\n", textwrap.dedent(text).strip("\n")):
        lines = block.split("\n")
        if all(line.startswith("  ") for line in lines) or any(len(line) < BROKEN_EARLY for line in lines[:-1]):
            kept_lines = [guarded(escaped(line)) for line in textwrap.dedent(block).split("\n")]
            parts.append("\n".join([".in +4n", ".EX", *kept_lines, ".EE", ".in"]))
        else:
            parts.append("\n".join(guarded(line) for line in fold(escaped(" ".join(block.split())))))
    return "\n.PP\n".join(parts)


def fold(text: str) -> list[str]:
    return textwrap.wrap(text, 79, break_long_words=False, break_on_hyphens=False)


def guarded(line: str) -> str:
    """A line of text that begins like a request of roff would be taken for one."""
    return f"\\&{line}" if line[:1] in (".", "'") else line


def page(
    name: str, section: str, summary: str, parser: argparse.ArgumentParser, sections: Mapping[str, str], see_also: str
) -> str:
    """The text of one man page; `sections` are ours by heading, already roff."""
    actions = gflowd.command_line.actions_of(parser)
    parser.formatter_class = functools.partial(argparse.RawDescriptionHelpFormatter, width=1000)
    examples, parser.epilog = parser.epilog, None
    synopsis_lines = [line for each in actions.values() or [parser] for line in synopsis(each)]
    if actions:
        sections = {"actions": actions_section(actions), **sections}
        for group in parser._action_groups:  # noqa: SLF001 -- Manpage would show them without a heading of their own
            group._group_actions = [  # noqa: SLF001
                each
                for each in group._group_actions  # noqa: SLF001
                if not isinstance(each, argparse._SubParsersAction)  # noqa: SLF001
            ]
    made = Manpage(parser, format="single-commands-section")
    made.prog, made.description = name, summary
    made.mf.format_text = roff
    made.add_section("synopsis", "=", "\n.br\n".join(synopsis_lines))
    for heading, content in sections.items():
        made.add_section(heading, "=", content)
    if examples:
        made.add_section("examples", "=", roff(examples))
    include(made, name)
    if made.get_extra_section("exit status") is None:
        include(made, "exit-status")
    made.add_section("see also", "=", see_also)
    return tidied([title_line(name, section), *str(made).split("\n")[1:]])


def include(made: Manpage, name: str) -> None:
    path = os.path.join(ROOT, "man", f"{name}.inc")
    if os.path.exists(path):
        made.parse_include(path)


def synopsis(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The forms of a command line: the parser's own words for them, else its arguments in order."""
    if parser.usage:
        forms = [form.strip().removeprefix(parser.prog) for form in parser.usage.split("\n")]
    else:
        formatter = argparse.HelpFormatter(parser.prog, width=1000)
        forms = [
            " ".join(
                [
                    "[OPTIONS]",
                    *(
                        formatter._format_args(action, action.dest.upper())  # noqa: SLF001 -- its one way to say nargs
                        for action in parser._actions  # noqa: SLF001
                        if not action.option_strings
                    ),
                ]
            )
        ]
    for form in forms:
        yield f"\\fB{escaped(parser.prog)}\\fR {re.sub(r'([A-Z]{2,})', ITALIC, escaped(form.strip()))}"


def tidied(lines: list[str]) -> str:
    """Without the blank lines and the empty paragraphs that mandoc complains of."""
    text = "\n".join(line.rstrip() for line in lines if line.strip())
    return re.sub(r"(?m)^\.PP\n(?=\.(?:SH|SS|PP|TP))", "", text) + "\n"


def references(pages: list[tuple[str, str]]) -> str:
    """The list of a SEE ALSO section."""
    *first, last = [f".BR {escaped(name)} ({section})" for name, section in sorted(pages, key=lambda page: page[::-1])]
    return "\n".join([*(f"{line} ," for line in first), last])


def commands_section(program: Program) -> str:
    lines = []
    for name, (_, aliases, summary) in program.commands.items():
        also = f" (also `{'`, `'.join(aliases)}`)" if aliases else ""
        lines += [".TP", f".BR {escaped(f'{program.name}-{name}')} ({program.section})"]
        lines += fold(escaped(f"{summary[:1].upper()}{summary[1:]}{also}."))
    return "\n".join(lines)


def actions_section(actions: Mapping[str, argparse.ArgumentParser]) -> str:
    """Each action of a command with its own options; those that all commands share are said once, of the command."""
    lines = []
    for name, parser in actions.items():
        lines += [f".SS {escaped(name)}", roff(parser.description or "")]
        for option in parser._actions:  # noqa: SLF001
            if option.help != argparse.SUPPRESS and not {"--help", *SHARED} & set(option.option_strings):
                lines += [".TP", f"\\fB{escaped(spelled(option))}\\fR", roff(str(option.help))]
    return "\n".join(lines)


def spelled(option: argparse.Action) -> str:
    """Each of its names with its value, as the rest of the page has it; Python 3.13's argparse says the value once."""
    formatter = argparse.HelpFormatter("", width=1000)
    if not option.option_strings:
        return formatter._format_action_invocation(option)  # noqa: SLF001 -- there is no public way
    value = "" if option.nargs == 0 else f" {formatter._format_args(option, option.dest.upper())}"  # noqa: SLF001
    return ", ".join(f"{name}{value}" for name in option.option_strings)


def program_parser(program: Program) -> argparse.ArgumentParser:
    """The options that stand before a command: those that all commands share."""
    parser = argparse.ArgumentParser(prog=program.name, usage=f"{program.name} [OPTIONS] COMMAND [ARGUMENT ...]")
    parser.description = program.description
    program.add_globals(parser)
    return parser


def man_pages() -> Iterator[tuple[str, str]]:
    """Each man page: its path from the root of the tree, and its text."""
    overviews = [("gflowctl", "1"), ("gflow.toml", "5"), ("gflow", "7"), ("gflowd", "8")]
    for program in PROGRAMS:
        name, section = program.name, program.section
        others = [page for page in overviews if page != (name, section)]
        sections = {"commands": commands_section(program)}
        text = page(name, section, program.summary, program_parser(program), sections, references(others))
        yield f"man/{name}.{section}", text
        for verb, (_, _, summary) in program.commands.items():
            full, also = f"{name}-{verb}", references([(name, section), ("gflow", "7")])
            yield f"man/{full}.{section}", page(full, section, summary, program.parser(verb), {}, also)
    for name, section in HAND_WRITTEN:
        with open(os.path.join(ROOT, "man", f"{name}.{section}"), encoding="utf-8") as file:
            _, body = file.read().split("\n", 1)
        yield f"man/{name}.{section}", f"{title_line(name, section)}\n{body}"


def asks(kind: str) -> dict[str, str]:
    """How each shell asks for the candidates of a kind, for shtab."""
    name = f"_gflowctl_{kind.replace('-', '_')}"
    return {"bash": name, "zsh": name, "fish": f"(_gflowctl_candidates {kind})"}


def preamble() -> dict[str, str]:
    """For each shell the functions that `asks` names."""
    kinds = sorted({"jobs", *JOBS_OF.values(), *CANDIDATES.values()})
    wrappers = "".join(f'{asks(kind)["bash"]}() {{ _gflowctl_candidates {kind} "$1"; }}\n' for kind in kinds)
    return {shell: text if shell == "fish" else text + wrappers for shell, text in ASKED_FROM.items()}


def completed_by(verb: str, action: argparse.Action) -> object:
    """What shtab is told of an argument; None where there is nothing to offer."""
    if action.metavar in ("JOBS", "JOB"):
        return asks(JOBS_OF.get(verb, "jobs"))
    for name in (f"{verb} {action.dest}", *action.option_strings):
        if name in CANDIDATES:
            return asks(CANDIDATES[name])
    return COMPLETED_BY.get(str(action.metavar))


def add_help(commands: argparse._SubParsersAction[argparse.ArgumentParser], program: Program) -> None:
    """`help COMMAND`, which has no parser of its own."""
    names = [name for command, (_, aliases, _) in program.commands.items() for name in (command, *aliases)]
    parser = commands.add_parser("help", help="show the help of a command", add_help=False)
    parser.add_argument("command", nargs="?", choices=names, help="the command")


def completions() -> Iterator[tuple[str, str]]:
    """Each completion script: its path from the root of the tree, and its text."""
    for program in PROGRAMS:
        whole = program_parser(program)
        commands = whole.add_subparsers(metavar="COMMAND")
        for verb, (_, aliases, summary) in program.commands.items():
            parser = program.parser(verb)
            for each in (parser, *gflowd.command_line.actions_of(parser).values()):
                for action in each._actions:  # noqa: SLF001 -- argparse shows its actions no other way
                    if (how := completed_by(verb, action)) is not None:
                        action.complete = how  # type: ignore[attr-defined]
            commands.add_parser(verb, aliases=aliases, help=summary, parents=[parser], add_help=False)
        add_help(commands, program)
        asked = preamble() if program.name == "gflowctl" else {}
        for shell in SHELLS:
            yield (
                f"{program.name}/completions/{program.name}.{shell}",
                f"{shtab.complete(whole, shell, preamble=asked.get(shell, '')).rstrip()}\n",
            )


def kept(path: str) -> str | None:
    """What the tree holds now; None where there is no such file."""
    try:
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def surplus(made: Mapping[str, str]) -> list[str]:
    """Pages of commands that are no more."""
    found = [f"man/{name}" for name in os.listdir(os.path.join(ROOT, "man")) if re.search(r"\.[1-9]$", name)]
    return sorted(path for path in found if path not in made)


def write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(os.path.join(ROOT, path)), exist_ok=True)
    with open(os.path.join(ROOT, path), "w", encoding="utf-8") as file:
        file.write(text)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--check", action="store_true", help="write nothing; fail when a file is out of step")
    check = options.parse_args().check
    made = {**dict(man_pages()), **dict(completions())}
    stale = [path for path, text in made.items() if kept(path) != text]
    for path in stale:
        if not check:
            write(path, made[path])
        print(f"{path}: {'out of step; run make man' if check else 'written'}")
    for path in surplus(made):
        if not check:
            os.unlink(os.path.join(ROOT, path))
        print(f"{path}: {'no such command; run make man' if check else 'removed'}")
        stale.append(path)
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
