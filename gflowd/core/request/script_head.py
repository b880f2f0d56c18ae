"""The head of a job script: its `# GFLOW` and `#SBATCH` lines as options of `gflowctl submit`. Opens no file.

Only comments before the first command count, as in sbatch(1). `core.slurm.sbatch_semantics` knows what each `#SBATCH`
option means.
"""

from __future__ import annotations

import re

from gflowd.core.errors import Refused
from gflowd.core.job.value_base import Value
from gflowd.core.slurm import job_variables, sbatch_options, sbatch_semantics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Final

REMEDY = "--ignore-unknown-directives ignores it"
LONGEST_LINE = 65536  # bytes: a command line may be longer, but none is written that long
ELSEWHERE = (
    "--", "--color", "--config", "--daemon", "--from", "--help", "-h", "--ignore-unknown-directives", "--state-dir",
    "--version", "--wrap",
)  # fmt: skip  # they have no place in a script

_GFLOW = re.compile(rb"#[ \t]*GFLOW(?=[ \t\r]|$)(.*)", re.DOTALL)
_SBATCH = re.compile(rb"#SBATCH(?=[ \t\r-]|$)(.*)", re.DOTALL)  # sbatch takes `#SBATCH--hold` too
_OF_OTHERS = re.compile(rb"#(PBS|BSUB)(?=[ \t-]|$)")  # Torque's, LSF's: sbatch tries to follow them
_HELP = re.compile("-H+h")  # among letters without values
_SHELL = re.compile(rb"#![ \t]*(?:\S*/)?(?:env[ \t]+)?(?:\S*/)?(?:ba|da|z|k|a)?sh\b")
_CONTROL = re.compile(rb"[\0-\x08\x0a-\x1f\x7f]")


class WrongLine(Refused):
    """What is wrong is in the script."""


class Head(Value):
    """What a script's head asks for. The options come before those of the command line, which take precedence."""

    __slots__ = ("argv", "asked", "lines", "notes", "slurm")

    def __init__(
        self,
        *,
        argv: tuple[str, ...] = (),
        lines: tuple[int, ...] = (),
        notes: tuple[str, ...] = (),
        slurm: bool = False,
        asked: tuple[str, ...] = (),
    ) -> None:
        self.argv: Final = argv  # those from `#SBATCH` lines first, so that `# GFLOW` lines take precedence
        self.lines: Final = lines  # the number of the line that each of `argv` is from
        self.notes: Final = notes  # a sentence for each option that has no effect
        self.slurm: Final = slurm  # there is an `#SBATCH` line
        self.asked: Final = asked  # as `Spec.asked`


def read(
    content: bytes,
    *,
    cpus: int | None = None,
    gpus: int | None = None,
    tasks: int | None = None,
    host: str | None = None,
    ignore_unknown: bool = False,
    over: Sequence[sbatch_options.Option] | None = None,
) -> Head:
    """The head of a script. `cpus` (of a task), `gpus` and `tasks` are what the command line asks for, `host` is this
    machine's short name. `over` are options of sbatch(1) that take precedence over all lines, and make the script one
    for Slurm; None: it was not given to sbatch.

    Raises `Refused` naming the line and the option that gflow cannot follow and that would change the job's result;
    with `ignore_unknown` there is a note instead.
    """
    asked: list[sbatch_options.Option] = []
    own: list[tuple[int, str]] = []
    troubles: list[tuple[int, str]] = []
    others: dict[str, int] = {}
    slurm = over is not None
    for number, line in _head(content):
        if match := _SBATCH.match(line):
            slurm = True
            options, wrong = sbatch_options.parse(number, _words(number, match[1], sbatch_options.split))
            asked += options
            troubles += [(number, what) for what in wrong]
        elif match := _GFLOW.match(line):
            words = _words(number, match[1], _as_a_shell)
            stray = _stray(words)
            if stray is None:
                own += [(number, word) for word in words]
            else:
                troubles.append((number, f"# GFLOW {stray}"))
        elif match := _OF_OTHERS.match(line):
            others.setdefault(match[1].decode(), number)
        elif number == 1:
            _check_line_end(number, line)
    mixed = _check_body(content)
    asked = sbatch_options.overridden(asked, over or ())
    if any(option.name == "ignore-pbs" for option in asked):
        others = {}
    meant = sbatch_semantics.translate(asked, cpus=cpus, gpus=gpus, tasks=tasks, host=host)
    troubles = sorted(troubles + list(meant.troubles), key=lambda trouble: trouble[0])
    if troubles and not ignore_unknown:
        number, what = troubles[0]
        if number == sbatch_options.COMMAND_LINE:
            raise Refused(what)
        raise WrongLine(f"line {number}: {what}{f'; {REMEDY}' if over is None else ''}")
    of_lines = [each for each in meant.argv if each[0] != sbatch_options.COMMAND_LINE]
    words_of_lines = (*of_lines, *own, *(each for each in meant.argv if each[0] == sbatch_options.COMMAND_LINE))
    return Head(
        argv=tuple(word for _, word in words_of_lines),
        lines=tuple(number for number, _ in words_of_lines),
        notes=(
            *(f"line {number}: ignored: {what}" for number, what in troubles),
            *(
                f"line {number}: ignored: all #{name} lines; write #SBATCH or # GFLOW"
                for name, number in others.items()
            ),
            *(f"{_where(number)}{option} has no effect" for number, option in meant.without_effect),
            *(f"line {number} ends in CR LF, as on Windows: the shell takes the CR as part of it" for number in mixed),
        ),
        slurm=slurm,
        asked=job_variables.kept(asked),
    )


def _where(number: int) -> str:
    return "" if number == sbatch_options.COMMAND_LINE else f"line {number}: "


def unread(content: bytes) -> int | None:
    """The number of the first line that holds options in a file that is no script, so that nobody would read them."""
    return next((number for number, line in _comments(content) if _SBATCH.match(line) or _GFLOW.match(line)), None)


def _head(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of each comment before the first command; none if the first line is not `#!`."""
    return _comments(content) if content.startswith(b"#!") else iter(())


def _comments(content: bytes) -> Iterator[tuple[int, bytes]]:
    number, start = 0, 0
    while start < len(content):
        end = content.find(b"\n", start)
        line = content[start : len(content) if end < 0 else end]
        number, start = number + 1, start + len(line) + 1
        if line.lstrip().startswith(b"#"):
            yield number, line
        elif line.strip():
            return


def _as_a_shell(text: str) -> list[str]:
    """The words of a line, with quotes and comments but without expansion."""
    import shlex

    try:
        return shlex.split(text, comments=True)
    except ValueError:
        raise ValueError("has an unclosed quote or ends in a backslash") from None


def _words(number: int, text: bytes, split: Callable[[str], list[str]]) -> list[str]:
    _check_line_end(number, text)
    if len(text) > LONGEST_LINE:
        raise WrongLine(f"line {number}: the directive is {len(text)} bytes long; the limit is {LONGEST_LINE}")
    if _CONTROL.search(text):
        raise WrongLine(f"line {number}: the directive contains a control character")
    try:
        return split(text.decode())
    except UnicodeDecodeError:
        raise WrongLine(f"line {number}: the directive is not valid UTF-8") from None
    except ValueError as error:
        raise WrongLine(f"line {number}: the directive {error}") from None


def _check_line_end(number: int, line: bytes) -> None:
    if line.endswith(b"\r"):
        raise WrongLine(
            f"line {number} ends in CR LF, as on Windows, and would not run: convert it (sed -i 's/\\r$//')"
        )


def _check_body(content: bytes) -> list[int]:
    """The first line of a shell script that ends in CR LF, if any; a here-document may mean it. Raises `Refused` where
    already the first command does: all of it comes from Windows.
    """
    if b"\r\n" not in content or not _SHELL.match(content):
        return []
    lines = content.split(b"\n")
    first = next((number for number, line in enumerate(lines, 1) if _is_command(line)), 0)
    if first:
        _check_line_end(first, lines[first - 1])
    return [next(number for number, line in enumerate(lines, 1) if line.endswith(b"\r"))]


def _is_command(line: bytes) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith(b"#")


def _stray(words: list[str]) -> str | None:
    """The part of a `# GFLOW` line that is not an option for scripts."""
    if words and not words[0].startswith("-"):
        return f"{words[0]}: not an option (such as --gpus=2)"
    for word in words:
        if word.partition("=")[0] in ELSEWHERE or _HELP.match(word):
            return f"{word}: not an option for a script"
    return None
